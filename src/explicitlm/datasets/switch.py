"""Brings the data folders to the versions a run uses: by content, in place, all or nothing for each dataset."""

from __future__ import annotations

import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explicitlm.common.aside import put_aside, put_away
from explicitlm.common.errors import DataError, ExplicitLMError, StorageError
from explicitlm.common.files import write_text
from explicitlm.common.names import linked_folders
from explicitlm.datasets.resolve import DatasetPlan
from explicitlm.datasets.scan import Stamps, fits, scan
from explicitlm.datasets.table import Dataset
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

if TYPE_CHECKING:
    from explicitlm.vcs.data_store import DataStore  # 0.01 s, which only a switch needs

logger = logging.getLogger(__name__)

LEFTOVER = re.compile(r"\.[\w-]{22}\.tmp$")  # dvc_objects.fs.utils.tmp_fname


def check_untouched(workspace: Workspace, plans: list[DatasetPlan]) -> dict[str, bool]:
    """Checks that no data folder holds anything that DVC does not: then a switch loses nothing.

    Returns:
        by folder, whether it completely holds the version that its .dvc names now.

    Raises:
        DataError: data was changed, or put there, without `dvc add`.
    """
    stamps = Stamps(workspace)
    return {item.dataset.folder: _is_whole(workspace, item, stamps) for item in plans}


def _is_whole(workspace: Workspace, item: DatasetPlan, stamps: Stamps) -> bool:
    path, pointer = item.dataset.path, item.current
    folder = workspace.workdir / path
    listing = scan(folder)
    if listing is not None and listing.skipped:
        logger.warning(f"{path}: in no version, since DVC skips links to folders and what .dvcignore names: "
                       f"{', '.join(listing.skipped[:5])}{' ...' if len(listing.skipped) > 5 else ''}")  # fmt: skip
    if pointer is None:
        if listing is not None and listing.nfiles:
            raise DataError(f"{path} has no version ({item.dataset.pointer} is missing)",
                            f"dvc add {path}, or move the folder away")  # fmt: skip
        return True
    if listing is None or stamps.switching(path):
        return False
    if stamps.confirmed(path, pointer, listing):
        return True
    if workspace.isolated:
        # DVC has just laid this tree out from its cache; it leaves out what the cache lacks.
        return fits(listing, pointer)
    changes = workspace.dvc.changes(path)
    if not changes:
        stamps.confirm(path, pointer, listing)
        return True
    if listing.nfiles == 0 or _left_by_dvc(changes):
        return False  # what is left of a checkout or pull that was killed: nothing of the user's
    aside = put_aside(path, workspace.workdir)
    changed = f"{path} was changed without dvc add ({item.dataset.pointer} names another content)"
    if through := _edited_through_links(workspace, item, changes):
        # DVC itself would hand the edit out as the old version, even to `dvc checkout --force`
        raise DataError(
            f"{changed}; {len(through)} file(s) were written through links into the cache (as root?), "
            f"which no longer holds their content of {pointer.md5[:8]}: {', '.join(through[:3])}",
            f"dvc add {path} to keep the change, or put it aside: {aside} && dvc pull {item.dataset.pointer}",
        )
    raise DataError(
        changed,
        f"dvc add {path} to keep the change, or put it aside: {aside} && dvc checkout {item.dataset.pointer}",
    )


def _edited_through_links(workspace: Workspace, item: DatasetPlan, changes: dict[str, list[str]]) -> list[str]:
    """Takes objects that were changed together with the user's files out of the cache; gives the names of the files."""
    path, pointer = item.dataset.path, item.current
    assert pointer is not None
    modified = [name for name in changes.get("modified", []) if not name.endswith("/")]
    names = [name.removeprefix(path).removeprefix("/") for name in modified]
    with workspace.open_store() as data_store:
        return data_store.drop_edited(pointer, workspace.workdir / path, names)


def _left_by_dvc(changes: dict[str, list[str]]) -> bool:
    """Whether data differs by half-written files of DVC and by files that it had not written yet, and by no others."""
    added = changes.get("added", [])
    whole_files = [path for kind in set(changes) - {"added", "deleted"} for path in changes[kind] if path[-1] != "/"]
    return bool(added) and not whole_files and all(LEFTOVER.search(path) for path in added if path[-1] != "/")


def bring(workspace: Workspace, plans: list[DatasetPlan], whole: dict[str, bool]) -> None:
    """Makes every data folder hold its target version.

    Objects that the cache lacks are fetched first, so a remote that fails leaves every folder as it was. A switch that
    fails or is interrupted is taken back: the datasets are then at the old versions, and the message says so.

    Raises:
        DataError: neither cache nor remote has a version.
    """
    moves = []
    for item in plans:
        name, target = item.dataset.folder, item.target
        if item.current == target and whole[name]:
            commit = item.version and item.version.commit
            logger.info(f"{name}: {f'unchanged ({(commit or target.md5)[:8]}), skipped' if target else 'not used'}")
        else:
            moves.append(item)
    if not moves:
        return
    with workspace.open_store() as data_store:
        targets = {item.dataset.path: item.target for item in moves if item.target}
        if missing := [path for path, target in targets.items() if data_store.missing(target)]:
            logger.info(f"fetching {', '.join(missing)} from remote {data_store.remote.place}")
        data_store.fetch(targets)
        for item in moves:
            _check_folders(workspace, data_store, item)
        changes = {
            item.dataset.path: _change(data_store, item) if whole[item.dataset.folder] else None for item in moves
        }
        for item in moves:
            _repair_cache(data_store, item, changes[item.dataset.path])
        killed = {item.dataset.path for item in moves if Stamps(workspace).switching(item.dataset.path)}
        changes |= _lay_out_anew(workspace, moves)
        for item in moves:
            _move(workspace, data_store, item, changes[item.dataset.path], item.dataset.path in killed)


def _lay_out_anew(workspace: Workspace, moves: list[DatasetPlan]) -> dict[str, _Change]:
    """Brings those of which nothing is there, as in a new tree, by one start of DVC (0.5 s) instead of one for each.

    Returns:
        by path, that nothing remains to be done; empty where it failed, or would spare nothing.
    """
    wanted = [item.dataset for item in moves if item.current == item.target]
    absent = [dataset for dataset in wanted if not os.path.lexists(workspace.workdir / dataset.path)]
    if len(absent) < 2:
        return {}
    stamps = Stamps(workspace)
    for dataset in absent:
        stamps.start_switch(dataset.path)
    with suppress(StorageError):  # told of the one that is at fault, when each is tried alone
        workspace.dvc.checkout(*(dataset.pointer for dataset in absent), force=True)
        return {dataset.path: _Change([], {}) for dataset in absent}
    return {}


def _check_folders(workspace: Workspace, data_store: DataStore, item: DatasetPlan) -> None:
    """Checks that no file is written or removed through a link to a folder, which may lie outside the project.

    Raises:
        DataError: with the link.
    """
    versions = [version for version in (item.current, item.target) if version and not data_store.missing(version)]
    names = {name for version in versions for name in data_store.names(version)}
    if linked := linked_folders(workspace.workdir / item.dataset.path, names):
        link = f"{item.dataset.path}/{linked[0]}"
        raise DataError(f"{link} is a link to a folder where a version of {item.dataset.path} has a folder of its own; "
                        "nothing was written", put_away(link, workspace.workdir))  # fmt: skip


def _repair_cache(data_store: DataStore, item: DatasetPlan, change: _Change | None) -> None:
    """Makes sure that objects to be checked out match their hashes; one that does not is fetched from the remote."""
    if item.target is None:
        return
    needed = change.link.values() if change else [item.target.md5, *data_store.parts(item.target)]
    if damaged := data_store.drop_damaged(needed):
        logger.info(f"{item.dataset.folder}: {len(damaged)} object(s) in the cache do not hold what their hash says "
            f"(edited through a link?): dropped, fetching them from remote {data_store.remote.place}")  # fmt: skip
        data_store.fetch({item.dataset.path: item.target})


def _move(
    workspace: Workspace, data_store: DataStore, item: DatasetPlan, change: _Change | None, was_killed: bool
) -> None:
    dataset, stamps = item.dataset, Stamps(workspace)
    killed = " (its last switch had been killed in the middle)" if was_killed else ""
    before = item.current.md5[:8] if item.current else "absent"
    after = item.target.md5[:8] if item.target else "absent"
    stamps.start_switch(dataset.path)
    try:
        _check_out(workspace, data_store, dataset, item.target, change)
    except BaseException:
        try:
            _check_out(workspace, data_store, dataset, item.current, None)
            logger.info(f"{dataset.folder}: switch failed, back at the old version ({before})")
        except (ExplicitLMError, OSError):
            logger.info(f"{dataset.folder}: switch failed between {before} and {after}, the same command goes on")
        raise
    arrow = f"{before} -> {after}" if item.current != item.target else f"{after} brought from the cache"
    logger.info(f"{dataset.folder}: {arrow}{_amount(item.target, change)}{killed}")


@dataclass(frozen=True)
class _Change:
    """Paths in a folder that one version has otherwise than another: those to remove, those to link (by hash)."""

    remove: list[str]
    link: dict[str, str]


def _change(data_store: DataStore, item: DatasetPlan) -> _Change | None:
    """What differs between two versions of a folder; None where only DVC can tell."""
    if item.current is None or item.target is None or data_store.missing(item.current):
        return None
    before, after = data_store.entries(item.current), data_store.entries(item.target)
    if before is None or after is None:
        return None
    return _Change(
        remove=[path for path, md5 in before.items() if after.get(path) != md5],
        link={path: md5 for path, md5 in after.items() if before.get(path) != md5},
    )


def _check_out(
    workspace: Workspace, data_store: DataStore, dataset: Dataset, pointer: Pointer | None, change: _Change | None
) -> None:
    """Writes the .dvc file and makes the folder follow it.

    Of a folder that wholly holds another version only the differing files are touched: DVC itself looks at all of them,
    which takes it 11 s for 50,000 files of which 500 differ.
    """
    path, folder = workspace.workdir / dataset.pointer, workspace.workdir / dataset.path
    if pointer is None:
        path.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return
    write_text(path, pointer.text())
    if change:
        _apply(data_store, folder, change)
    listing = scan(folder)
    if change is None or listing is None or not fits(listing, pointer):
        workspace.dvc.checkout(dataset.pointer, force=True)
        listing = scan(folder)
    if listing is None or not fits(listing, pointer):
        raise DataError(
            f"{dataset.path} is not {pointer.md5[:8]} after dvc checkout",
            "the same command again",
        )
    Stamps(workspace).confirm(dataset.path, pointer, listing)


def _apply(data_store: DataStore, folder: Path, change: _Change) -> None:
    for name in change.remove:
        (folder / name).unlink()
    for parent in sorted({(folder / name).parent for name in change.remove}, reverse=True):
        while parent != folder and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent
    data_store.link({folder / name: md5 for name, md5 in change.link.items()})


def _amount(pointer: Pointer | None, change: _Change | None) -> str:
    """Files and bytes of the version, and how many files moved."""
    if pointer is None or pointer.size is None:
        return ""
    moved = {*change.remove, *change.link} if change else set()
    differing = f", {len(moved)} differ" if moved else ""
    return f", {pointer.nfiles or 1} files, {pointer.size / 1e6:.1f} MB{differing}"
