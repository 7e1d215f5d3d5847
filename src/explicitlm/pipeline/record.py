"""Stage 3, `python -m explicitlm.pipeline.record`: join what is known into the record, and point at the weights.

It can be run again at any time (`dvc repro --single-item record`) and gives the same record.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import Any

from explicitlm.common import layout, logs
from explicitlm.common.errors import TrainingError, UsageError, run_reporting
from explicitlm.common.files import write_text
from explicitlm.records import build, store, tracking
from explicitlm.records.manifest import Manifest, Result, load_sealed
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)
AGAIN = "dvc repro train, then dvc repro --single-item record"


def main() -> int:
    """Runs the stage for the tree in the current directory."""
    logs.set_up("[record] ")
    workspace = Workspace.of_stage()
    manifest = load_sealed(workspace.workdir / layout.MANIFEST, Manifest, "dvc repro sync_data")
    result = load_sealed(workspace.workdir / layout.RESULT, Result, AGAIN)
    if result.command != manifest.command:
        raise UsageError(f"the last training ({result.experiment}) had other parameters than {manifest.id}", AGAIN)
    if result.status != "finished":
        path = store.save(workspace.main, build.unfinished(manifest, result))
        raise TrainingError(f"{manifest.id} has no checkpoint: its training {result.status} (record: {path})",
                            f"explicitlm publish {manifest.id} keeps the record")  # fmt: skip
    git, dvc = workspace.workdir_git, workspace.dvc
    row = dvc.workspace_row()
    pointer = _weights(workspace, manifest, row)
    tagged = workspace.git.tag_commit(manifest.id)
    record = build.finished(manifest, result, pointer.md5, tagged, _metrics(row), _dependencies(workspace, row))
    record = tracking.updated(workspace.main, record)
    store.save(workspace.workdir, record)
    pointer_path = layout.weights_pointer(manifest.id)
    write_text(workspace.workdir / pointer_path, pointer.text())
    # What a stage adds to git's index becomes part of the experiment's commit.
    git.stage(layout.record(manifest.id), pointer_path)
    if not workspace.isolated:
        dvc.checkout(pointer_path)  # links: `dvc exp save` refuses a pointer whose data is not in the workspace
    borrowed = (
        f" (weights of {result.experiment}, whose inputs were the same)" if result.experiment != manifest.id else ""
    )
    logger.info(f"{layout.record(manifest.id)}: checkpoint {pointer.md5}{borrowed}")
    return 0


def _metrics(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for file in row.get("metrics", {}).values() for name, value in (file.get("data") or {}).items()}


def _dependencies(workspace: Workspace, row: dict[str, Any]) -> dict[str, str]:
    """Hashes of train's inputs. Other stages' are left out: record's own are not known before its first run."""
    known = row.get("deps", {})
    return {
        path: str(known[path]["hash"])
        for path in sorted(workspace.pipeline.deps("train"))
        if (known.get(path) or {}).get("hash")
    }


def _weights(workspace: Workspace, manifest: Manifest, row: dict[str, Any]) -> Pointer:
    """The checkpoint as dvc.lock holds it, if it was trained on the data that the manifest names.

    Raises:
        UsageError: DVC knows no checkpoint, or one of other data.
    """
    out = row.get("outs", {}).get(layout.CHECKPOINT) or {}
    if not out.get("hash"):
        raise UsageError(f"dvc.lock knows no {layout.CHECKPOINT}: "
                         "the training is not finished, or its outs are not committed",
                         "dvc commit -f train (after cluster training), or dvc repro train")  # fmt: skip
    versions = (workspace.workdir / layout.DATA_VERSIONS).read_bytes()
    trained_on = (row.get("deps", {}).get(layout.DATA_VERSIONS) or {}).get("hash")
    if trained_on != hashlib.md5(versions, usedforsecurity=False).hexdigest():
        raise UsageError(
            f"the checkpoint in {layout.CHECKPOINT} was trained on other data than {manifest.id} names", AGAIN
        )
    return Pointer(str(out["hash"]), out.get("size"), out.get("nfiles"), manifest.id)


if __name__ == "__main__":
    sys.exit(run_reporting(main))
