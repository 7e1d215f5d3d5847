"""Which commit a version of a dataset comes from: the first one that gave data/X.dvc its content.

One version has one commit, whatever branch, tag or experiment named it, so that a search in the records finds all.
"""

from __future__ import annotations

from collections.abc import Iterator

from explicitlm.common.errors import DataError
from explicitlm.datasets.table import Dataset
from explicitlm.vcs.git import Git
from explicitlm.vcs.pointer import Pointer, parse_pointer


def origin(git: Git, dataset: Dataset, md5: str) -> str | None:
    """The first commit that held a version; None where none does.

    Commits of branches come first: an experiment's own commit, which its tag keeps, also holds data that its user
    committed only later.
    """
    for branches_only in (True, False):
        for pointer, commit, _, _ in version_commits(git, dataset, branches_only):
            if pointer.md5 == md5:
                return commit
    return None


def version_commits(git: Git, dataset: Dataset, branches_only: bool) -> Iterator[tuple[Pointer, str, str, str]]:
    """Every commit that changed a dataset's version, oldest first: the version, commit, ISO date, subject."""
    history = git.history(dataset.pointer, branches_only)
    texts = git.read_each((commit for commit, _, _ in history), dataset.pointer)
    for commit, date, subject in reversed(history):
        if pointer := parsed(texts[commit], dataset):
            yield pointer, commit, date, subject


def parsed(text: str | None, dataset: Dataset) -> Pointer | None:
    """A .dvc file's version; None for a commit that has none, or conflict marks and the like."""
    if text is None:
        return None
    try:
        return parse_pointer(text, dataset.pointer, dataset.folder)
    except DataError:
        return None
