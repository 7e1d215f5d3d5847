"""`explicitlm archive`: frees the cache of what the remote holds too, and of nothing else.

`dvc gc` removes all that is not named somewhere: an experiment that is not published yet, a version that was never
pushed. Here the remote is asked for every object before it is removed, and what is in use stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.datasets.table import DATASETS
from explicitlm.records.store import parse
from explicitlm.vcs import owners
from explicitlm.vcs.data_store import DataStore
from explicitlm.vcs.git import Git
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import load_yaml

logger = logging.getLogger(__name__)
BACK = "explicitlm archive --restore"


@dataclass(frozen=True)
class Archived:
    """What becomes of one version.

    Attributes:
        name: `exp_003` for weights, `data/database 1a2b3c4d` for a version of a dataset.
        free: bytes that leave the cache. objects: their number.
        kept: why it stays, wholly or in part; "" where nothing of it does.
    """

    name: str
    free: int
    objects: int
    kept: str

    def line(self) -> str:
        """One line for people."""
        amount = f"{self.objects} object(s), {self.free / 1e6:.1f} MB" if self.objects else "nothing to free"
        return f"{self.name}: {amount}" + (f"; stays: {self.kept}" if self.kept else "")

    def as_dict(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


def archive(workspace: Workspace, dry: bool) -> list[Archived]:
    """Removes objects from the cache that the remote holds in the same length.

    Args:
        dry: only say what would go.

    Raises:
        StorageError: the remote cannot be asked; then nothing is removed.
        UsageError: the cache is shared with other clones, or an experiment is at work.
    """
    with nullcontext() if dry else owners.exclusive(workspace.main), workspace.open_store() as store:
        named = [(name, store.lengths(_files(store, pointer))) for name, pointer in versions(workspace.git)]
        lengths = {md5: length for _, here in named for md5, length in here.items()}
        on_remote = store.held_by_remote(lengths)
        used = {md5 for pointer in in_use(workspace) for md5 in _files(store, pointer)}
        # A version stays whole, with what it shares with others, unless the remote has all of it
        kept = used | {md5 for _, here in named if here.keys() - on_remote for md5 in here}
        found, removed = [], set[str]()
        for name, here in named:
            free = here.keys() - kept - removed
            found.append(Archived(name, sum(here[md5] for md5 in free), len(free), _why(store, here, on_remote, used)))
            removed |= free
        if not dry:
            if store.is_shared:
                raise UsageError("the cache is not this clone's alone: others may use what is in it",
                                 "explicitlm archive --dry shows what the remote holds")  # fmt: skip
            _remove_links(workspace, store, removed)
            store.remove(removed)
    return found


def _why(store: DataStore, here: dict[str, int], on_remote: set[str], used: set[str]) -> str:
    if unsent := here.keys() - on_remote:
        return f"{len(unsent)} object(s) not on remote {store.remote.place} (explicitlm publish or dvc push sends them)"
    return "in use here" if here.keys() & used else ""


def restore(workspace: Workspace) -> list[str]:
    """Brings every version back into the cache that the remote can give, and the weights to where they were.

    Returns:
        names of what came back.
    """
    back = []
    with workspace.open_store() as store:
        for name, pointer in versions(workspace.git):
            missing = store.missing(pointer)
            if missing and store.on_remote(missing) == set(missing):
                store.fetch({name: pointer})
                back.append(name)
    for name in back:
        if (workspace.main / layout.pointer_file(name)).exists():
            workspace.main_dvc.checkout(layout.weights_pointer(name))
    return back


def versions(git: Git) -> Iterator[tuple[str, Pointer]]:
    """Every version that git names: weights of experiments, published or not, and all versions of the datasets."""
    commits = {tag: f"refs/tags/{tag}" for tag in git.tags()}
    commits |= {name: found[0] for name, found in git.experiments().items() if name not in commits}
    seen = set()
    for name, commit in sorted(commits.items()):
        if pointer := _parsed(git.read(commit, layout.pointer_file(name)), name):
            seen.add(pointer.md5)
            yield name, pointer
        if answers := _answers(git, commit, name):
            yield f"{name} {layout.ITEMS}", answers
    for dataset in DATASETS:
        known = [commit for commit, _, _ in git.history(dataset.pointer)]
        for text in git.read_each([*known, *commits.values()], dataset.pointer).values():
            pointer = _parsed(text, dataset.pointer)
            if pointer and pointer.md5 not in seen:
                seen.add(pointer.md5)
                yield f"{dataset.path} {pointer.md5[:8]}", pointer


def in_use(workspace: Workspace) -> Iterator[Pointer]:
    """What lies in this checkout and in the trees of running and prepared experiments."""
    main = workspace.main
    for tree in (main, *(main / ".dvc/tmp/exps").glob("*/*"), *(main / layout.CLUSTER).glob("*")):
        for dataset in DATASETS:
            path = tree / dataset.pointer
            if path.is_file():
                pointer = _parsed(path.read_text(encoding="utf-8", errors="replace"), dataset.pointer)
                if pointer:
                    yield pointer
        lock = tree / layout.PIPELINE_LOCK
        if lock.is_file():
            stages = load_yaml(lock.read_text(encoding="utf-8"), str(lock)).get("stages", {})
            for out in (out for stage in stages.values() for out in stage.get("outs", [])):
                yield Pointer(out["md5"], out.get("size"), out.get("nfiles"), out["path"])


def _files(store: DataStore, pointer: Pointer) -> list[str]:
    """Objects of a version, without a folder's list: it is small, and says what the folder held."""
    if not pointer.md5.endswith(".dir"):
        return [pointer.md5]
    return store.parts(pointer) if store.lengths([pointer.md5]) else []


def _remove_links(workspace: Workspace, store: DataStore, removed: set[str]) -> None:
    """Removes files in checkpoints/ that are one with an object that goes: they hold its space, or would dangle."""
    for name, pointer in versions(workspace.git):
        folder = workspace.main / layout.weights(name)
        if not folder.is_dir() or not store.lengths([pointer.md5]):
            continue
        for path, md5 in (store.entries(pointer) or {}).items():
            if md5 in removed and store.is_link(folder / path, md5):
                (folder / path).unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _answers(git: Git, commit: str, name: str) -> Pointer | None:
    """The answers to the task items, as an experiment's record names them."""
    text = git.read(commit, layout.record(name))
    with suppress(UsageError):
        items = parse(text, name, name).results.items if text is not None else None
        return Pointer(items.md5, items.size, None, PurePosixPath(layout.ITEMS).name) if items else None
    return None


def _parsed(text: str | None, path: str) -> Pointer | None:
    with suppress(DataError):
        return parse_pointer(text, path) if text is not None else None
    return None
