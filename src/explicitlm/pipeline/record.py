"""Stage 3, `python -m explicitlm.pipeline.record`: join what is known into the record, and point at the weights.

It can be run again at any time (`dvc repro --single-item record`) and gives the same record.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from explicitlm.common import layout, logs
from explicitlm.common.errors import TrainingError, UsageError, run_reporting
from explicitlm.common.files import read_json, write_text
from explicitlm.common.interrupts import leave
from explicitlm.records import build, store, tracking
from explicitlm.records.manifest import Manifest, Result, load_sealed
from explicitlm.records.schema import Items
from explicitlm.vcs.pipeline_file import PipelineFile
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)
AGAIN = "dvc repro train && dvc repro --single-item record"


def main() -> int:
    """Runs the stage for the tree in the current directory."""
    logs.set_up("[record] ")
    workspace = Workspace.of_stage()
    if not workspace.isolated and not (workspace.workdir / layout.MANIFEST).exists():
        from explicitlm.pipeline.put_away import bring_back  # seldom needed

        bring_back(workspace)
    manifest = load_sealed(workspace.workdir / layout.MANIFEST, Manifest, "dvc repro sync_data")
    _check_reports(workspace, manifest)
    result = load_sealed(workspace.workdir / layout.RESULT, Result, AGAIN)
    if result.command != manifest.command:
        raise UsageError(f"the last training ({result.experiment}) had other parameters than {manifest.id}", AGAIN)
    if result.status != "finished":
        path = store.save(workspace.main, build.unfinished(manifest, result))
        raise TrainingError(f"{manifest.id} has no checkpoint: its training {result.status} (record: {path})",
                            f"explicitlm publish {manifest.id} keeps the record")  # fmt: skip
    pipeline = workspace.pipeline
    inputs = pipeline.locked("train", "deps")
    pointer = _weights(workspace, manifest, pipeline)
    tagged = workspace.git.tag_commit(manifest.id)
    hashes = {path: inputs[path].md5 for path in sorted(inputs)}
    answered = pipeline.locked("train", "outs").get(layout.ITEMS)
    items = Items(md5=answered.md5, size=answered.size) if answered else None
    record = build.finished(manifest, result, pointer.md5, tagged, _metrics(workspace), hashes, items)
    record = tracking.updated(workspace.main, record)
    store.save(workspace.workdir, record)
    write_text(workspace.workdir / layout.pointer_file(manifest.id), pointer.text())
    # What a stage adds to git's index becomes part of the experiment's commit.
    workspace.workdir_git.stage(layout.record(manifest.id), layout.pointer_file(manifest.id))
    if not workspace.isolated:
        _link_weights(workspace.workdir / layout.CHECKPOINT, workspace.workdir / layout.weights(manifest.id))
    borrowed = (
        f" (weights of {result.experiment}, whose inputs were the same)" if result.experiment != manifest.id else ""
    )
    logger.info(f"{layout.record(manifest.id)}: checkpoint {pointer.md5}{borrowed}")
    return 0


def _check_reports(workspace: Workspace, manifest: Manifest) -> None:
    """Checks that weights which were brought from where they were trained came with what was written beside them.

    Raises:
        UsageError: naming what did not come; nothing need be trained again.
    """
    names = [name for name in workspace.pipeline.outputs("train") if name != layout.CHECKPOINT]
    missing = [name for name in names if not (workspace.workdir / name).exists()]
    if not missing or not (workspace.workdir / layout.CHECKPOINT / layout.CHECKPOINT_FILES[0]).exists():
        return
    related = [layout.PIPELINE_LOCK, layout.log(manifest.id), layout.run_dir(manifest.id)]
    raise UsageError(
        f"the weights of {manifest.id} are here, but not what its training wrote beside them: {', '.join(missing)}",
        f"fetch from where it was trained: {' '.join([*missing, *related])}; then dvc commit -f train, "
        "and dvc repro --single-item record",
    )


def _metrics(workspace: Workspace) -> dict[str, Any]:
    return read_json(workspace.workdir / layout.METRICS, AGAIN)


def _weights(workspace: Workspace, manifest: Manifest, pipeline: PipelineFile) -> Pointer:
    """The checkpoint as dvc.lock holds it, if it was trained on the data that the manifest names.

    Raises:
        UsageError: DVC knows no checkpoint, or one of other data.
    """
    out = pipeline.locked("train", "outs").get(layout.CHECKPOINT)
    if out is None:
        # DVC removes a stage's outs before it runs it: weights that no cache holds would be lost
        trained = (workspace.workdir / layout.CHECKPOINT).exists()
        raise UsageError(f"dvc.lock knows no {layout.CHECKPOINT}: "
                         "the training is not finished, or its outs are not committed",
                         "dvc commit -f train" if trained else "dvc repro train")  # fmt: skip
    trained_on = pipeline.locked("train", "deps").get(layout.DATA_VERSIONS)
    data_versions = (workspace.workdir / layout.DATA_VERSIONS).read_bytes()
    if trained_on is None or trained_on.md5 != hashlib.md5(data_versions, usedforsecurity=False).hexdigest():
        raise UsageError(
            f"the checkpoint in {layout.CHECKPOINT} was trained on other data than {manifest.id} names", AGAIN
        )
    return Pointer(out.md5, out.size, out.nfiles, manifest.id)


def _link_weights(trained: Path, target: Path) -> None:
    """Gives the weights of this run their own name beside it, by the same kind of link as DVC laid them out with.

    Where the file system has no links the name stays without a folder until `dvc pull` of its pointer makes one.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(path for path in trained.rglob("*") if path.is_file()):
        copy = target / file.relative_to(trained)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, copy, follow_symlinks=False)
        except OSError:
            shutil.rmtree(target)
            return


if __name__ == "__main__":
    leave(run_reporting(main))
