"""Phase 3, on the login node: prove what came back, take it into the cache, record it, publish it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from explicitlm.cluster import places, receipt, upload
from explicitlm.errors import DataError, StorageError, UsageError
from explicitlm.pipeline.identity import now
from explicitlm.project import DATASETS, Project, load_yaml
from explicitlm.records import build, handover, store, tracking
from explicitlm.records.handover import Manifest, Result
from explicitlm.records.publish import publish
from explicitlm.records.schema import Record
from explicitlm.vcs import stages, worktree
from explicitlm.vcs.git import Repository
from explicitlm.vcs.worktree import Worktree

Say = Callable[[str], None]
LOG_TAIL = 20  # lines of the log in the record of a training that was killed


def post(project: Project, experiment: str, killed: bool, upload_seconds: float, say: Say) -> Record:
    """Finishes an experiment that was trained elsewhere; can be repeated, also after it is published.

    Args:
        killed: it was killed there before it could seal anything: record that, with what is known.
        upload_seconds: limit of the upload to SwanLab.

    Raises:
        DataError: what came back is not what was sealed there, or was not made of what was sent.
    """
    main = project.main
    Repository(main).check_committable()
    tree = places.login_tree(main, experiment)
    with _alone(main):
        if not tree.exists() and (main / store.path_of(experiment)).exists():
            upload.upload(main, experiment, say, upload_seconds)
            return publish(main, experiment, say)
        tree = places.prepared_tree(main, experiment)
        manifest = handover.load(tree / places.MANIFEST, Manifest, f"explicitlm cluster pre {experiment}")
        result = _killed(tree, manifest) if killed else _verified(tree, manifest, say)
        _bring_home(main, tree, manifest)
        upload.upload(main, experiment, say, upload_seconds)
        if result.status != "finished":
            store.save(main, tracking.updated(main, build.unfinished(manifest, result)))
            say(f"{experiment} {result.status}: {(result.error or '').splitlines()[0]}")
            say(f"its tree stays: explicitlm cluster train {experiment} there continues it, if it left a state")
            return publish(main, experiment, say)
        _save_experiment(main, tree, manifest)
        record = publish(main, experiment, say)
        worktree.remove(main, tree)
        return record


def sync_only(project: Project, experiment: str, upload_seconds: float, say: Say) -> Record:
    """Uploads to SwanLab what `post` could not, and commits the record with the new status.

    Raises:
        StorageError: the server does not hold it yet.
    """
    store.load(project.main, experiment)
    if not upload.upload(project.main, experiment, say, upload_seconds):
        raise StorageError(f"{experiment} is not on SwanLab (the reason is above)",
                           "swanlab login, and the same command where the server can be reached")  # fmt: skip
    with _alone(project.main):
        return publish(project.main, experiment, say)


def _alone(main: Path) -> FileLock:
    """Two at once would both commit on the current branch."""
    (main / places.FOLDER).mkdir(parents=True, exist_ok=True)
    return FileLock(main / places.FOLDER / ".lock")


def _verified(tree: Path, manifest: Manifest, say: Say) -> Result:
    returned = receipt.load_returned(tree, manifest.id)
    receipt.check_returned(tree, manifest.id, returned)
    again = f"explicitlm cluster fetch {manifest.id} HOST:DIR"
    result = handover.load(tree / "experiments/run/result.json", Result, again)
    if result.experiment != manifest.id or result.command != manifest.command or result.status != returned.status:
        raise DataError(f"the result that came back is of {result.experiment} ({result.status}), "
                        f"not of {manifest.id} as it was sent", again)  # fmt: skip
    say(f"checked: {len(returned.files)} files are as they were sealed there, trained from what was sent")
    return result


def _killed(tree: Path, manifest: Manifest) -> Result:
    """What can be said of a training that left no receipt.

    Raises:
        UsageError: it did leave one.
    """
    if (tree / places.RETURNED).exists():
        raise UsageError(f"{manifest.id} was not killed: it is sealed", f"explicitlm cluster post {manifest.id}")
    log = tree / places.run_files(manifest.id)[0]
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
    log, reports = places.run_files(manifest.id)
    known = tracking.load(main, manifest.id)
    for name in upload.CURVES:  # by which an upload is confirmed, also when the tree is gone
        if (tree / "experiments/run" / name).exists():
            (main / reports).mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / "experiments/run" / name, main / reports / name)
    if (tree / log).exists():
        (main / log).parent.mkdir(exist_ok=True)
        shutil.copy2(tree / log, main / log)
    if (tree / reports).exists():
        shutil.copytree(tree / reports, main / reports, ignore=shutil.ignore_patterns("states"), dirs_exist_ok=True)
    if known and known.get("id") == tracking.load(main, manifest.id).get("id"):
        tracking.save(main, manifest.id, known)


def _save_experiment(main: Path, tree: Path, manifest: Manifest) -> None:
    """Weights into the cache, record and pointer into the tree, all of it into the DVC experiment."""
    stages.commit(tree, main, "train")
    _check_lock(tree, manifest)
    if not stages.repro_single(tree, main, "record", manifest.id):
        raise DataError(f"{manifest.id} was not recorded (the reason is above)",
                        f"explicitlm cluster post {manifest.id}")  # fmt: skip
    Worktree(tree).save_experiment(manifest.id)


def _check_lock(tree: Path, manifest: Manifest) -> None:
    """The data that dvc.lock names for the training must be the data that was sealed.

    Raises:
        DataError: a data folder of the tree was changed meanwhile.
    """
    lock = load_yaml((tree / "dvc.lock").read_text(encoding="utf-8"), "dvc.lock")["stages"]["train"]
    found = {dep["path"]: dep.get("md5") for dep in lock["deps"]}
    for dataset in DATASETS:
        version = manifest.data[dataset.param]
        if version and dataset.path in found and found[dataset.path] != version.md5:
            raise DataError(f"{tree / dataset.path} is not the version that was sent ({version.md5[:8]}) any more",
                            f"dvc --cd {tree} checkout --force {dataset.pointer}, then the same command")  # fmt: skip
