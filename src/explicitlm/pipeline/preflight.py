"""What would keep an experiment from being run or published, found before an hour is trained and not after it."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from explicitlm.common.aside import put_aside
from explicitlm.common.errors import DataError, StorageError
from explicitlm.datasets.resolve import DatasetPlan, resolve
from explicitlm.datasets.switch import check_untouched
from explicitlm.pipeline import identity
from explicitlm.pipeline.params import Params
from explicitlm.pipeline.readable import check_readable
from explicitlm.records import question
from explicitlm.vcs import s3
from explicitlm.vcs.data_store import DataStore
from explicitlm.vcs.dvc_config import cache_dir, dvc_config, missing_plugin
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.remote import Remote, default_remote
from explicitlm.vcs.workspace import Workspace

LEAST_FREE = 100_000_000  # bytes, below which even a tiny experiment's cache, log and states do not fit


def check(workspace: Workspace, experiment: str, params: Params) -> None:
    """All checks of a new experiment that can be made before it runs.

    Raises:
        ExplicitLMError: what would make it fail, with what to do.
    """
    identity.check_id(experiment, workspace)
    check_surroundings(workspace, params)


def check_surroundings(workspace: Workspace, params: Params) -> None:
    """The checks that a new experiment and one that is continued have in common.

    Raises:
        ExplicitLMError: what would make it fail, with what to do.
    """
    _check_machine(workspace)
    question.check(workspace.main, params.against, params.expect)
    plans = resolve(workspace, params.revisions)
    check_pointers(workspace, plans)
    whole = check_untouched(workspace, plans)
    here = [plan for plan in plans if whole[plan.dataset.folder] and plan.current == plan.target]
    check_readable(workspace, here, params.train)
    check_reachable(workspace, plans)


def check_reachable(workspace: Workspace, plans: list[DatasetPlan]) -> None:
    """Checks that every version can be brought here; an imported one, which lies elsewhere, is brought at once.

    Raises:
        DataError: neither the cache nor the remote has one, nor where it was imported from.
    """
    with workspace.open_store() as store:
        missing = [(plan, plan.target) for plan in plans if plan.target and store.missing(plan.target)]
        for plan, target in missing:
            if store.on_remote(store.missing(target)):
                continue
            if target.imported:
                _fetch_import(workspace, store, plan, target)
            else:
                store.fetch({plan.dataset.path: target})  # says why it cannot


def _fetch_import(workspace: Workspace, store: DataStore, plan: DatasetPlan, target: Pointer) -> None:
    reason = f"{plan.dataset.pointer} names another version now"
    if plan.current == target:
        try:
            workspace.dvc.fetch(plan.dataset.pointer, watch=lambda: None)
            reason = "DVC gave no reason"
        except StorageError as error:
            reason = error.cause
        if not store.missing(target):
            return
    raise DataError(
        f"{plan.dataset.path} ({target.md5[:8]}) was imported, and neither the cache nor the remote has it, "
        f"nor could it be had from where it came: {reason}",
        f"make that reachable, then the same command; or use another version: "
        f"explicitlm data log {plan.dataset.folder}",
    )


def check_project(workspace: Workspace, experiment: str) -> None:
    """What does not depend on parameters and data: id, git, disk, cache, remote.

    Raises:
        ExplicitLMError: what would make the experiment fail, with what to do.
    """
    identity.check_id(experiment, workspace)
    _check_machine(workspace)


def _check_machine(workspace: Workspace) -> None:
    workspace.check_committable()
    check_disk(workspace)
    check_cache(workspace)
    check_remote(workspace)


def check_disk(workspace: Workspace) -> None:
    """Refuses to start on a disk that is read-only or all but full: DVC would leave its locks behind."""
    if not os.access(workspace.main, os.W_OK) or os.statvfs(workspace.main).f_flag & os.ST_RDONLY:
        raise StorageError(f"Read-only file system: {workspace.main}", "remount it, or work in a clone elsewhere")
    free = shutil.disk_usage(workspace.main).free
    if free < LEAST_FREE:
        raise StorageError(
            f"No space left on device: {free / 1e6:.0f} MB free, a run needs {LEAST_FREE / 1e6:.0f} MB and its data",
            "explicitlm archive --dry shows what the cache can do without, or free space elsewhere on the disk",
        )


def check_cache(workspace: Workspace) -> Path:
    """Checks that DVC's cache, wherever any level of its configuration puts it, can take objects.

    Raises:
        StorageError: it cannot be written, as on a share that is not mounted.
    """
    cache = cache_dir(workspace.main)
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"DVC's cache {cache} cannot be written ({there})",
                           "dvc config --list --show-origin names the file that puts it there")  # fmt: skip
    return cache


def check_remote(workspace: Workspace) -> Remote:
    """Checks that data can be published: a remote is chosen, DVC has its plug-in, and a store answers.

    Raises:
        StorageError: why not.
    """
    config = dvc_config(workspace.main)
    remote = default_remote(config)
    if remote is None:
        raise StorageError("no default remote is chosen", "explicitlm remote local, or: explicitlm remote minio")
    if remote.is_s3:
        s3.ask(remote)
    elif remote.folder is None:
        if error := missing_plugin(remote.name, config):
            raise error
    else:
        there = next(folder for folder in (remote.folder, *remote.folder.parents) if folder.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            shown = shlex.quote(str(there))
            raise StorageError(f"remote {remote.place} cannot be written",
                               f"ls -ld {shown}; or choose another: explicitlm remote local")  # fmt: skip
    return remote


def check_pointers(workspace: Workspace, plans: list[DatasetPlan]) -> None:
    """Checks that every version to be used is one that this DVC writes.

    Raises:
        DataError: a .dvc file of DVC 2, whose hashes mean something else.
    """
    for item in plans:
        if item.target is not None and item.target.legacy:
            pointer, path = item.dataset.pointer, item.dataset.path
            # `dvc cache migrate` wants every output of the pipeline; `dvc add` leaves a pointer that is there as it is
            anew = (f"{put_aside(pointer, workspace.workdir)} && dvc add {path} && "
                    f"git commit -m 'data: hashes of DVC 3' -- {pointer}")  # fmt: skip
            here = (workspace.workdir / path).exists()
            raise DataError(
                f"{pointer} was written by DVC 2 (it has no 'hash: md5'): its hashes differ from DVC 3's",
                f"pin a version that DVC 3 wrote: explicitlm data log {item.dataset.folder}"
                if item.current != item.target else anew if here else f"dvc pull {pointer}, then the same command",
            )  # fmt: skip
