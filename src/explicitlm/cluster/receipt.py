"""Receipts: which files left, and which came back, each with its hash.

    login --sent.json--> compute --returned.json--> login

`sent` is made on the login node and checked on the compute node before it trains; `returned` is made there and checked
back there. `returned` names the `sent` that it answers. They find mix-ups and damage, but no forger: there is no key.

BagIt (RFC 8493) seals whole folders in a layout of its own; these files stay where training and DVC expect them,
data is sealed by the MD5 that DVC has computed already, and one receipt answers another.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from explicitlm.common import layout
from explicitlm.common.clock import now
from explicitlm.common.errors import DataError
from explicitlm.common.files import sha256
from explicitlm.common.names import inside, linked_folders
from explicitlm.datasets.table import DATASETS, TEXT
from explicitlm.lm.data.note import is_noted_text, noted_files
from explicitlm.lm.typed import Checked
from explicitlm.records.manifest import Status, check_id, load_sealed, save_sealed
from explicitlm.vcs.dvc_config import cache_dir
from explicitlm.vcs.pipeline_file import PipelineFile
from explicitlm.vcs.pointer import parse_pointer
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.worktree import Worktree

# Tracked files that no training reads
NOT_SENT = (
    "checkpoints", "experiments/checkpoints/", "experiments/records/",
    "tests/", "docs/", "benchmarks/", "scripts/", ".ci/", ".git", "README",
    "Makefile", "system-packages.txt",
)  # fmt: skip
IMPORTABLE = (".py", ".pyc", ".so", ".pth")  # what Python may run of a folder that it imports from
BLOCK = 1 << 20
NAMED = 10  # files that a message names


class FileSeal(Checked, frozen=True):
    """One file: bytes, and the hash by its algorithm (md5 for data, which is DVC's own, else sha256)."""

    size: int
    md5: str | None = None
    sha256: str | None = None


class Sent(Checked, frozen=True, kw_only=True):
    """What left the login node."""

    schema_version: Literal[1] = 1
    experiment: str
    sealed_at: str
    files: dict[str, FileSeal]

    def __post_init__(self) -> None:
        _check_names(self.experiment, self.files)


class Returned(Checked, frozen=True, kw_only=True):
    """What the training left on the compute node.

    Attributes:
        sent: sha256 of the receipt that it trained by.
        status: of the training.
    """

    schema_version: Literal[1] = 1
    experiment: str
    sealed_at: str
    sent: str
    status: Status
    files: dict[str, FileSeal]

    def __post_init__(self) -> None:
        _check_names(self.experiment, self.files)


def _check_names(experiment: str, files: Iterable[str]) -> None:
    """Refuses a receipt by which something outside its folder would be read or written.

    Raises:
        ValueError: with the name.
    """
    check_id(experiment)
    for name in files:
        inside(name)


def seal_sent(workspace: Workspace, experiment: str) -> Sent:
    """Seals the code, parameters and data of a prepared tree.

    Data is not read: its hashes are those by which DVC has just laid it out. Of the training text the tokens that
    sync_data has made are sent, and the note by which a training finds them.
    """
    tree = workspace.workdir
    prepared = [f"{layout.LOCAL}/{name}" for name in noted_files(tree / layout.TEXT_NOTE)]
    names = [name for name in Worktree(tree).tracked() if not name.startswith(NOT_SENT)]
    made = [tree / name for stage in workspace.pipeline.before("train") for name in workspace.pipeline.outputs(stage)]
    code = {*names, layout.PIPELINE_LOCK, *(_name(tree, path) for path in _files(made)), layout.TEXT_NOTE, *prepared}
    files = {name: _seal(tree / name) for name in sorted(code)}
    with workspace.open_store() as data_store:
        for dataset in DATASETS:
            if not (tree / dataset.pointer).exists() or dataset == TEXT:
                continue
            pointer = parse_pointer(
                (tree / dataset.pointer).read_text(encoding="utf-8"), dataset.pointer, dataset.folder
            )
            entries = data_store.entries(pointer) if pointer.md5.endswith(".dir") else None
            for name, md5 in ({"": pointer.md5} if entries is None else entries).items():
                path = f"{dataset.path}/{name}" if name else dataset.path
                files[path] = FileSeal(size=(tree / path).stat().st_size, md5=md5)
    receipt = Sent(experiment=experiment, sealed_at=now(), files=files)
    save_sealed(tree / layout.SENT, receipt)
    return receipt


def load_sent(tree: Path) -> Sent:
    """The receipt of what was sent."""
    return load_sealed(tree / layout.SENT, Sent, "explicitlm cluster push ID HOST:DIR, on the login node")


def check_sent(tree: Path, receipt: Sent) -> None:
    """Checks on the compute node that everything is here as it left, and nothing else where training would read it.

    Raises:
        DataError: with the names.
    """
    check_imports(tree, receipt)
    wrong = differences(tree, receipt.files)
    watched = [tree / dataset.path for dataset in DATASETS if dataset != TEXT]
    wrong += [f"{name} (was not sent)" for name in _unknown(tree, _files(watched), receipt.files)]
    text = tree / TEXT.path  # there only where login and compute node share the tree
    if text.exists() and not is_noted_text(text, tree / layout.TEXT_NOTE):
        wrong.append(f"{TEXT.path} (was not sent)")
    if wrong:
        raise _not_as_sent(receipt, wrong)


def check_imports(tree: Path, receipt: Sent) -> None:
    """Checks, before Python is started there, that it would import nothing from the tree but what was sent.

    A sitecustomize.py or a package called `torch` beside our own would run in their place. What Python keeps of earlier
    compilations is removed: it runs unread instead of a source of the same size and time.

    Raises:
        DataError: with the names.
    """
    _remove_compiled(tree)
    packages = [path for folder in tree.iterdir() if folder.is_dir() for path in folder.glob("__init__.*")]
    top = [path for path in tree.iterdir() if path.suffix in IMPORTABLE]
    if wrong := _unknown(tree, [*_files([tree / "src"]), *packages, *top], receipt.files):
        raise _not_as_sent(receipt, [f"{name} (was not sent)" for name in wrong])


def _remove_compiled(tree: Path) -> None:
    places = [tree, *(Path(folder) for folder, _, _ in os.walk(tree / "src"))]
    for cache in [folder / "__pycache__" for folder in places]:
        if cache.is_symlink():
            cache.unlink()
        else:
            shutil.rmtree(cache, ignore_errors=True)  # another node of the same training may be faster
        if cache.exists():
            raise DataError(f"{cache} was not sent and cannot be removed", f"rm -r {shlex.quote(str(cache))}")


def _not_as_sent(receipt: Sent, wrong: list[str]) -> DataError:
    return DataError(f"this is not {receipt.experiment} as it was sent: {_named(wrong)}",
                     f"explicitlm cluster push {receipt.experiment} HOST:DIR again, on the login node; "
                     "remove here what was not sent")  # fmt: skip


def seal_returned(tree: Path, experiment: str, status: Status) -> Returned:
    """Seals what a training left: weights, metrics, log, reports, SwanLab's files; not its resume states."""
    log, reports = layout.log(experiment), layout.run_dir(experiment)
    roots = [tree / name for name in (*PipelineFile(tree).outputs("train"), log)]
    roots += [path for path in (tree / reports).glob("*") if path.name not in ("states", "manifest.json")]
    files = {_name(tree, path): _seal(path) for path in _files(roots)}
    receipt = Returned(
        experiment=experiment,
        sealed_at=now(),
        sent=sha256((tree / layout.SENT).read_bytes()),
        status=status,
        files=dict(sorted(files.items())),
    )
    save_sealed(tree / layout.RETURNED, receipt)
    return receipt


def load_returned(tree: Path, experiment: str) -> Returned:
    """The receipt of what came back.

    Raises:
        UsageError: nothing has.
    """
    return load_sealed(
        tree / layout.RETURNED,
        Returned,
        f"explicitlm cluster train {experiment} on the compute node, explicitlm cluster fetch {experiment} HOST:DIR "
        f"here; or, if it was killed there for good: explicitlm cluster post {experiment} --killed",
    )


def check_returned(tree: Path, experiment: str, receipt: Returned) -> None:
    """Checks on the login node that what came back is what was sealed there, from what was sent.

    Raises:
        DataError: with the names.
    """
    again = f"explicitlm cluster fetch {experiment} HOST:DIR again"
    check_links(tree, experiment)
    made = tuple(_made(tree, experiment))
    if foreign := [name for name in receipt.files if name not in made and not name.startswith(_folders(made))]:
        raise DataError(f"the receipt of {experiment} names what no training writes: {_named(foreign)}", again)
    if receipt.experiment != experiment or receipt.sent != sha256((tree / layout.SENT).read_bytes()):
        raise DataError(f"what came back was trained from other files than those sent as {experiment}",
                        f"push {experiment} again, train, and fetch from that folder")  # fmt: skip
    wrong = differences(tree, receipt.files)
    weights = _files([tree / layout.CHECKPOINT])
    wrong += [f"{name} (was not sealed there)" for name in _unknown(tree, weights, receipt.files)]
    if wrong:
        raise DataError(f"what came back is not what {experiment} left there: {_named(wrong)}", again)
    own = {name: seal for name, seal in load_sent(tree).files.items() if seal.md5 is None and name != "dvc.lock"}
    if wrong := differences(tree, own):
        raise DataError(f"the tree of {experiment} is not what was sent any more: {_named(wrong)}",
                        f"git -C {shlex.quote(str(tree))} diff; take back what was changed there")  # fmt: skip


def check_links(tree: Path, experiment: str) -> None:
    """Checks that what a training left is no link to anything else: a link would bring in a file of this machine.

    Raises:
        DataError: with the links.
    """
    made = _made(tree, experiment)
    linked = [name for name in linked_folders(tree, made) if name != layout.CHECKPOINTS]  # a link of the project's own
    for name in made:
        linked += [name] if _is_foreign_link(tree, tree / name) else []
        for folder, folders, files in os.walk(tree / name):
            if folder == str(tree / layout.run_dir(experiment)):
                folders[:] = [other for other in folders if other != layout.STATES]  # stay where they are
            paths = [Path(folder, other) for other in (*folders, *files)]
            linked += [_name(tree, path) for path in paths if _is_foreign_link(tree, path)]
    if linked:
        first = shlex.quote(str(tree / sorted(linked)[0]))
        raise DataError(f"links came back with {experiment}, which were not followed: {_named(sorted(set(linked)))}",
                        f"rm {first}, and see on the compute node who made it")  # fmt: skip


def _is_foreign_link(tree: Path, path: Path) -> bool:
    """Whether a path is a link, and not one of DVC's own to an object of the cache, as after an earlier `post`.

    What such a link leads to must still be what was sealed.
    """
    if not path.is_symlink():
        return False
    main = tree.parents[len(Path(layout.CLUSTER).parts)]  # not the tree's own word, which a compute node may have
    return not (main / ".dvc").is_dir() or not path.resolve().is_relative_to(cache_dir(main).resolve() / "files/md5")


def _made(tree: Path, experiment: str) -> list[str]:
    """Files and folders that a training is known to write."""
    return [*PipelineFile(tree).outputs("train"), layout.log(experiment), layout.run_dir(experiment)]


def _folders(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}/" for name in names)


def differences(root: Path, files: Mapping[str, FileSeal]) -> list[str]:
    """Files that are not as sealed, in words; reads them all, several at once."""
    present = {name: seal for name, seal in files.items() if (root / name).is_file()}
    whole = {name: seal for name, seal in present.items() if (root / name).stat().st_size == seal.size}
    told = [f"{name} (missing)" for name in files if name not in present]
    told += [
        f"{name} ({(root / name).stat().st_size:,} of {seal.size:,} bytes)"
        for name, seal in present.items()
        if name not in whole
    ]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), DownloadColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
    ):
        task = progress.add_task("checking", total=sum(seal.size for seal in whole.values()))

        def fits(item: tuple[str, FileSeal]) -> bool:
            name, seal = item
            algorithm = "md5" if seal.md5 else "sha256"
            found = _digest(root / name, algorithm)
            progress.advance(task, seal.size)
            return found == (seal.md5 or seal.sha256)

        good = dict(zip(whole, pool.map(fits, whole.items()), strict=True))
    told += [f"{name} (other content)" for name in whole if not good[name]]
    return sorted(told)


def _seal(path: Path) -> FileSeal:
    return FileSeal(size=path.stat().st_size, sha256=_digest(path, "sha256"))


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _files(roots: Iterable[Path]) -> list[Path]:
    found = []
    for root in roots:
        if root.is_file():
            found.append(root)
            continue
        for folder, _, names in os.walk(root, followlinks=True):
            found += [Path(folder, name) for name in names]
    return found


def _unknown(tree: Path, paths: Iterable[Path], files: Mapping[str, FileSeal]) -> list[str]:
    names = {_name(tree, path) for path in paths if "__pycache__" not in path.parts}
    return sorted(names - files.keys())


def _name(tree: Path, path: Path) -> str:
    return path.relative_to(tree).as_posix()


def _named(wrong: list[str]) -> str:
    more = f", and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return ", ".join(wrong[:NAMED]) + more
