"""Writes the folder: checkpoint, record, model card, RO-Crate, checksums; whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.common.files import to_json, write_text
from explicitlm.comparison import sources
from explicitlm.lm.typed import dump
from explicitlm.records import store
from explicitlm.records.schema import Record
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)
SUMS = "SHA256SUMS"


def export(workspace: Workspace, experiment: str, target: Path) -> Path:
    """Exports a finished experiment whose weights lie in this checkout.

    Raises:
        UsageError: it has no weights, the target exists, or the optional packages are missing.
        DataError: the weights are not here, or the answers to the task items nowhere.
    """
    record = store.load(workspace.main, experiment)
    if record.status != "finished":
        raise UsageError(f"{experiment} has no weights: its training {record.status}", "explicitlm compare")
    if target.exists():
        raise UsageError(f"{target} exists", f"explicitlm export {experiment} with another folder")
    source = workspace.main / layout.weights(experiment)
    missing = [name for name in layout.CHECKPOINT_FILES if not (source / name).is_file()]
    if missing:
        raise DataError(f"the weights of {experiment} are not here ({source}: no {', '.join(missing)})",
                        f"dvc pull {layout.weights_pointer(experiment)}")  # fmt: skip
    files = {file.name: file for file in sorted(source.iterdir()) if file.is_file()}
    if items := record.results.items:
        files[Path(layout.ITEMS).name] = sources.fetch_answers(workspace, items.md5)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        _fill(made, files, record)
        made.rename(target)
    logger.info(f"{target}: {len(list(target.iterdir()))} files; check them with: sha256sum -c {SUMS}")
    return target


def _fill(folder: Path, files: Mapping[str, Path], record: Record) -> None:
    try:
        from explicitlm.export import card, crate
    except ImportError as error:
        raise UsageError(f"export needs {error.name}", "pip install 'explicitlm[export]'") from None
    for name, file in files.items():
        shutil.copyfile(file, folder / name)  # the content, whatever kind of link DVC laid out
    write_text(folder / "record.json", to_json(dump(record)))
    write_text(folder / "README.md", card.model_card(record))
    crate.write(folder, record)
    sums = "".join(f"{_sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()))
    write_text(folder / SUMS, sums)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
