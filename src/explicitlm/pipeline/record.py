"""Stage 3, `python -m explicitlm.pipeline.record`: join what is known into the record, and point at the weights.

It can be run again at any time (`dvc repro --single-item record`) and gives the same record.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from explicitlm.errors import TrainingError, UsageError, run_reporting
from explicitlm.files import write_text
from explicitlm.project import CHECKPOINT, Project
from explicitlm.records import build, handover, store, tracking
from explicitlm.records.handover import Manifest, Result
from explicitlm.vcs.dvc import Dvc
from explicitlm.vcs.git import Repository
from explicitlm.vcs.pointer import Pointer

AGAIN = "dvc repro train, then dvc repro --single-item record"


def main() -> int:
    """Runs the stage for the tree in the current directory."""
    project = Project.of_stage()
    manifest = handover.load(project.manifest, Manifest, "dvc repro sync_data")
    result = handover.load(project.result, Result, AGAIN)
    if result.command != manifest.command:
        raise UsageError(f"the last training ({result.experiment}) had other parameters than {manifest.id}", AGAIN)
    if result.status != "finished":
        path = store.save(project.main, build.unfinished(manifest, result))
        raise TrainingError(f"{manifest.id} has no checkpoint: its training {result.status} (record: {path})",
                            f"explicitlm publish {manifest.id} keeps the record")  # fmt: skip
    git, dvc = Repository(project.tree), Dvc(project.tree)
    row = dvc.workspace_row()
    pointer = _weights(project, manifest, row)
    tagged = Repository(project.main).tag_commit(manifest.id)
    record = build.finished(manifest, result, pointer.md5, tagged, _metrics(row), _dependencies(project, row))
    record = tracking.updated(project.main, record)
    store.save(project.tree, record)
    pointer_path = f"checkpoints/{manifest.id}.dvc"
    write_text(project.tree / pointer_path, pointer.text())
    # What a stage adds to git's index becomes part of the experiment's commit.
    git.stage(store.path_of(manifest.id), pointer_path)
    if not project.isolated:
        dvc.checkout(pointer_path)  # links: `dvc exp save` refuses a pointer whose data is not laid out
    borrowed = (
        f" (weights of {result.experiment}, whose inputs were the same)" if result.experiment != manifest.id else ""
    )
    print(f"[record] {store.path_of(manifest.id)}: checkpoint {pointer.md5}{borrowed}", flush=True)
    return 0


def _metrics(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for file in row.get("metrics", {}).values() for name, value in (file.get("data") or {}).items()}


def _dependencies(project: Project, row: dict[str, Any]) -> dict[str, str]:
    """Hashes of train's inputs. Other stages' are left out: record's own are not known before its first run."""
    known = row.get("deps", {})
    return {
        path: str(known[path]["hash"]) for path in sorted(project.train_deps()) if (known.get(path) or {}).get("hash")
    }


def _weights(project: Project, manifest: Manifest, row: dict[str, Any]) -> Pointer:
    """The checkpoint as dvc.lock holds it, if it was trained on the data that the manifest names.

    Raises:
        UsageError: DVC knows no checkpoint, or one of other data.
    """
    out = row.get("outs", {}).get(CHECKPOINT) or {}
    if not out.get("hash"):
        raise UsageError(f"dvc.lock knows no {CHECKPOINT}: the training is not finished, or its outs are not committed",
                         "dvc commit -f train (after cluster training), or dvc repro train")  # fmt: skip
    name = str(project.data_versions.relative_to(project.tree))
    trained_on = (row.get("deps", {}).get(name) or {}).get("hash")
    if trained_on != hashlib.md5(project.data_versions.read_bytes()).hexdigest():
        raise UsageError(f"the checkpoint in {CHECKPOINT} was trained on other data than {manifest.id} names", AGAIN)
    return Pointer(str(out["hash"]), out.get("size"), out.get("nfiles"), manifest.id)


if __name__ == "__main__":
    sys.exit(run_reporting(main))
