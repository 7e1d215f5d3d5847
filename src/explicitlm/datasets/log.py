"""`explicitlm data log database`: the versions of a dataset, and who used them.

The versions are those that commits of any branch, remote branch or tag gave data/X.dvc; the tag of an experiment counts
as the experiment, every other tag as the name of a snapshot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from explicitlm.common.errors import DataError
from explicitlm.datasets.origin import parsed, version_commits
from explicitlm.datasets.table import Dataset, by_name
from explicitlm.records import store
from explicitlm.vcs.git import Git
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace


@dataclass(frozen=True)
class Version:
    """One version of a dataset.

    Attributes:
        md5: DVC's hash of its content.
        commit: the first commit that held it; None for one that no commit holds.
        date: of that commit, ISO 8601. subject: its first line.
        size: bytes. nfiles: files; None where the .dvc file does not say.
        tags: snapshots at which the dataset had this version.
        experiments: ids of the records that used it.
        current: whether data/X.dvc in the tree names it.
    """

    md5: str
    commit: str | None
    date: str | None
    subject: str
    size: int | None
    nfiles: int | None
    tags: list[str]
    experiments: list[str]
    current: bool

    def as_dict(self) -> dict[str, Any]:
        """As a machine reads it."""
        return asdict(self)


def versions(workspace: Workspace, name: str) -> list[Version]:
    """Every version of a dataset, newest first.

    Args:
        workspace: the checkout whose history is read.
        name: the dataset's folder (database), its path (data/database) or its key in params.yaml (dataset).

    Raises:
        UsageError: there is no such dataset. DataError: it has no version yet.
    """
    dataset = by_name(name)
    git = workspace.git
    used = _used(workspace, dataset)
    named = _tags(git, dataset, set(store.ids(workspace.main)))
    found: dict[str, Version] = {}
    current = _current(workspace, dataset)
    for pointer, commit, date, subject in version_commits(git, dataset, branches_only=False):  # oldest first
        if pointer.md5 not in found:
            found[pointer.md5] = _version(pointer, commit, date, subject, named, used, current)
    for pointer, commit, date, subject in reversed(list(version_commits(git, dataset, branches_only=True))):
        # The commit that records name: the first one that a branch has, rather than that of an experiment's tag
        found[pointer.md5] = replace(found[pointer.md5], commit=commit, date=date, subject=subject)
    newest_first = list(reversed(found.values()))
    if current is not None and current.md5 not in found:
        newest_first.insert(0, _version(current, None, None, "(uncommitted)", named, used, current))
    if not newest_first:
        raise DataError(f"{dataset.path} has no version yet", f"put your files there, then: dvc add {dataset.path}")
    return newest_first


def table(found: list[Version]) -> list[str]:
    """The versions as aligned lines of text."""
    rows = [("version", "commit", "date", "files", "size", "tags", "experiments", "")]
    for version in found:
        rows.append(
            (
                version.md5[:8] + ("*" if version.current else ""),
                version.commit[:8] if version.commit else "-",
                version.date[:16].replace("T", " ") if version.date else "-",
                "" if version.nfiles is None else str(version.nfiles),
                "" if version.size is None else f"{version.size / 1e6:.1f} MB",
                " ".join(version.tags) or "-",
                " ".join(version.experiments) or "-",
                version.subject,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[7]]).rstrip()
            for row in rows]  # fmt: skip


def _version(
    pointer: Pointer,
    commit: str | None,
    date: str | None,
    subject: str,
    named: dict[str, list[str]],
    used: dict[str, list[str]],
    current: Pointer | None,
) -> Version:
    return Version(
        md5=pointer.md5,
        commit=commit,
        date=date,
        subject=subject,
        size=pointer.size,
        nfiles=pointer.nfiles,
        tags=named.get(pointer.md5, []),
        experiments=used.get(pointer.md5, []),
        current=current is not None and current.md5 == pointer.md5,
    )


def _current(workspace: Workspace, dataset: Dataset) -> Pointer | None:
    path = workspace.workdir / dataset.pointer
    return parse_pointer(path.read_text(encoding="utf-8"), dataset.pointer, dataset.folder) if path.exists() else None


def _tags(git: Git, dataset: Dataset, experiments: set[str]) -> dict[str, list[str]]:
    """Snapshot tags by the hash that the dataset had there."""
    named: dict[str, list[str]] = {}
    snapshots = [tag for tag in git.tags() if tag not in experiments]
    texts = git.read_each((f"refs/tags/{tag}" for tag in snapshots), dataset.pointer)
    for tag in snapshots:
        pointer = parsed(texts[f"refs/tags/{tag}"], dataset)
        if pointer is not None:
            named.setdefault(pointer.md5, []).append(tag)
    return named


def _used(workspace: Workspace, dataset: Dataset) -> dict[str, list[str]]:
    """Experiments by the hash of the dataset that their records name."""
    used: dict[str, list[str]] = {}
    for experiment in store.ids(workspace.main):
        details = store.load(workspace.main, experiment).data.get(dataset.folder)
        if details is not None:
            used.setdefault(details.md5, []).append(experiment)
    return used
