"""Phase 3, on the login node: prove what came back, take it into the cache, record it, publish it."""

from __future__ import annotations

import logging
import shlex
import shutil
from pathlib import Path

from filelock import FileLock

from explicitlm.cluster import receipt, taking, trees, upload
from explicitlm.common import layout
from explicitlm.common.aside import put_aside
from explicitlm.common.clock import now
from explicitlm.common.errors import DataError, StorageError, UsageError
from explicitlm.datasets.table import DATASETS
from explicitlm.records import build, store, tracking
from explicitlm.records.manifest import Manifest, Result, load_sealed
from explicitlm.records.publish import publish
from explicitlm.records.schema import Record
from explicitlm.vcs import owners, worktree
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.worktree import Worktree
from explicitlm.vcs.yaml_file import load_yaml

logger = logging.getLogger(__name__)

LOG_TAIL = 20  # lines of the log in the record of a training that was killed


def post(workspace: Workspace, experiment: str, killed: bool, upload_seconds: float) -> Record:
    """Finishes an experiment that was trained elsewhere; can be repeated, also after it is published.

    Args:
        killed: it was killed there before it could seal anything: record that, with what is known.
        upload_seconds: limit of the upload to SwanLab.

    Raises:
        DataError: what came back is not what was sealed there, or was not made of what was sent.
    """
    main = workspace.main
    workspace.check_committable()
    tree = trees.login_tree(main, experiment)
    with owners.claim(main, experiment), _locked(main):
        if not tree.exists() and (main / layout.record(experiment)).exists():
            upload.upload(main, experiment, upload_seconds)
            return publish(workspace, experiment)
        tree = trees.prepared_tree(main, experiment)
        manifest = load_sealed(tree / layout.MANIFEST, Manifest, f"explicitlm cluster pre {experiment}")
        if manifest.id != experiment:
            raise UsageError(f"{tree / layout.MANIFEST} is of {manifest.id!r}, not of {experiment!r}",
                             f"git -C {shlex.quote(str(tree))} diff HEAD -- {layout.MANIFEST}")  # fmt: skip
        result = _killed(tree, manifest) if killed else _verified(tree, manifest)
        _bring_home(main, tree, manifest)
        upload.upload(main, experiment, upload_seconds)
        if result.status != "finished":
            store.save(main, tracking.updated(main, build.unfinished(manifest, result)))
            logger.info(f"{experiment} {result.status}: {(result.error or '').splitlines()[0]}")
            logger.info(f"its tree stays: explicitlm cluster train {experiment} there continues it, if it left a state")
            return publish(workspace, experiment)
        _save_experiment(Workspace(tree, main), manifest)
        record = publish(workspace, experiment)
        worktree.remove(main, tree)
        return record


def sync_only(workspace: Workspace, experiment: str, upload_seconds: float) -> Record:
    """Uploads to SwanLab what `post` could not, and commits the record with the new status.

    Raises:
        StorageError: the server does not hold it yet.
    """
    store.load(workspace.main, experiment)
    if not upload.upload(workspace.main, experiment, upload_seconds):
        raise StorageError(f"{experiment} is not on SwanLab (the reason is above)",
                           "swanlab login, and the same command where the server can be reached")  # fmt: skip
    with _locked(workspace.main):
        return publish(workspace, experiment)


def _locked(main: Path) -> FileLock:
    """Two at once would both commit on the current branch."""
    (main / layout.CLUSTER).mkdir(parents=True, exist_ok=True)
    return FileLock(main / layout.CLUSTER / ".lock")


def _verified(tree: Path, manifest: Manifest) -> Result:
    returned = receipt.load_returned(tree, manifest.id)
    receipt.check_links(tree, manifest.id)
    taking.put_back(tree, returned.files)
    receipt.check_returned(tree, manifest.id, returned)
    again = f"explicitlm cluster fetch {manifest.id} HOST:DIR"
    result = load_sealed(tree / layout.RESULT, Result, again)
    if result.experiment != manifest.id or result.command != manifest.command or result.status != returned.status:
        raise DataError(f"the result that came back is of {result.experiment} ({result.status}), "
                        f"not of {manifest.id} as it was sent", again)  # fmt: skip
    logger.info(f"checked: {len(returned.files)} files are as they were sealed there, trained from what was sent")
    return result


def _killed(tree: Path, manifest: Manifest) -> Result:
    """What can be said of a training that left no receipt.

    Raises:
        UsageError: it did leave one.
    """
    receipt.check_links(tree, manifest.id)
    if (tree / layout.RETURNED).exists():
        raise UsageError(f"{manifest.id} was not killed: it is sealed", f"explicitlm cluster post {manifest.id}")
    log = tree / layout.log(manifest.id)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    error = "\n".join(["killed on the compute node before it could seal anything", *lines[-LOG_TAIL:]])
    return Result(
        experiment=manifest.id,
        status="interrupted",
        exit_code=None,
        signal=None,
        error=error,
        started_at=manifest.created_at,
        finished_at=now(),
        duration_s=0.0,
        command=manifest.command,
        seed=manifest.hyperparameters.seed,
        metrics={},
        environment={},
        tracker=tracking.load(tree, manifest.id),
        changed_during_run=[],
        inputs=[],
        undeclared=[],
    )


def _bring_home(main: Path, tree: Path, manifest: Manifest) -> None:
    """Copies log, reports and SwanLab's files to where every run of the project has them.

    An upload that a repeated `post` has made already is not forgotten.
    """
    log, reports = layout.log(manifest.id), layout.run_dir(manifest.id)
    known = tracking.load(main, manifest.id)
    for name in upload.CURVES:  # by which an upload is confirmed, also when the tree is gone
        if (tree / layout.RUN / name).exists():
            (main / reports).mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / layout.RUN / name, main / reports / name)
    if (tree / log).exists():
        (main / log).parent.mkdir(exist_ok=True)
        shutil.copy2(tree / log, main / log)
    if (tree / reports).exists():
        shutil.copytree(tree / reports, main / reports, ignore=shutil.ignore_patterns("states"), dirs_exist_ok=True)
    if known and known.get("id") == tracking.load(main, manifest.id).get("id"):
        tracking.save(main, manifest.id, known)


def _save_experiment(workspace: Workspace, manifest: Manifest) -> None:
    """Weights into the cache, record and pointer into the tree, all of it into the DVC experiment."""
    returned = receipt.load_returned(workspace.workdir, manifest.id)
    with taking.second_names(workspace.workdir, returned.files):
        workspace.dvc.commit_stage("train", workspace.main)
    _check_lock(workspace.workdir, manifest)
    for stage in workspace.pipeline.after("train"):
        if not workspace.dvc.repro_stage(stage, workspace.main, manifest.id):
            raise DataError(f"{manifest.id} was not recorded: {stage} failed (the reason is above)",
                            f"explicitlm cluster post {manifest.id}")  # fmt: skip
    Worktree(workspace.workdir).save_experiment(manifest.id)


def _check_lock(tree: Path, manifest: Manifest) -> None:
    """The data that dvc.lock names for the training must be the data that was sealed.

    Raises:
        DataError: a data folder of the tree was changed meanwhile.
    """
    lock = load_yaml((tree / layout.PIPELINE_LOCK).read_text(encoding="utf-8"), layout.PIPELINE_LOCK)["stages"]["train"]
    found = {dep["path"]: dep.get("md5") for dep in lock["deps"]}
    for dataset in DATASETS:
        version = manifest.data.get(dataset.param)
        if version and dataset.path in found and found[dataset.path] != version.md5:
            place = shlex.quote(str(tree))
            raise DataError(f"{tree / dataset.path} is not the version that was sent ({version.md5[:8]}) any more",
                            f"put the other aside: {put_aside(str(tree / dataset.path))} && "
                            f"dvc --cd {place} checkout {dataset.pointer}, then the same command")  # fmt: skip
