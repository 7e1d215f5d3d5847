"""Which version of each dataset a run uses, found out without touching anything.

"" is the current version, "none" no version at all (of a dataset that training can do without), anything else a git
revision or the id of a published experiment; versions are compared by content; what git does not hold is never
overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.datasets.origin import origin
from explicitlm.datasets.table import DATASETS, NONE, Dataset
from explicitlm.records.manifest import DataVersion, Manifest, load_sealed
from explicitlm.vcs.git_reading import revision_error
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace


@dataclass(frozen=True)
class DatasetPlan:
    """The version of a dataset that a run uses, and the one its .dvc file names now.

    Attributes:
        target: the version to use; None removes a dataset that is not to be used: git holds its version.
        current: the version that data/X.dvc in the tree names; None where there is none.
        version: the target, as the manifest holds it.
    """

    dataset: Dataset
    target: Pointer | None
    current: Pointer | None
    version: DataVersion | None


def resolve(
    workspace: Workspace, revisions: Mapping[str, str], earlier_pins: Mapping[str, str] | None = None
) -> list[DatasetPlan]:
    """Finds the version of every dataset.

    Args:
        workspace: revisions are looked up in its main checkout, where tags and branches are.
        revisions: by `Dataset.param`.
        earlier_pins: hashes that the last run in this tree had pinned (NONE: it used none), by `Dataset.param`;
            None: as that run's manifest says.

    Raises:
        DataError: unknown revision; no .dvc there; a missing or broken .dvc; a pin over uncommitted data.
    """
    finder = _Finder(workspace, _last_pins(workspace) if earlier_pins is None else earlier_pins)
    return [finder.find(dataset, revisions[dataset.param]) for dataset in DATASETS]


def _last_pins(workspace: Workspace) -> dict[str, str]:
    try:
        manifest = load_sealed(workspace.workdir / layout.MANIFEST, Manifest, "")
    except UsageError:
        return {}  # nothing has run here, or another version of this project
    versions = manifest.data.items()
    used = {param: version.md5 for param, version in versions if version and version.revision}
    return used | {param: NONE for param, version in versions if version is None}


class _Finder:
    def __init__(self, workspace: Workspace, earlier_pins: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._git = workspace.git
        self._head = workspace.workdir_git.head  # in an isolated tree the baseline, a commit main knows too
        self._at_head = self._git.read_all(self._head, [dataset.pointer for dataset in DATASETS])
        self._pins = earlier_pins

    def find(self, dataset: Dataset, revision: str) -> DatasetPlan:
        current = self._current(dataset)
        if revision == NONE:
            return self._unused(dataset, current)
        if revision:
            return self._pinned(dataset, revision, current)
        head = self._at(self._head, dataset)
        if current is None:
            return self._absent(dataset, head)
        if head is not None and head.md5 == current.md5:
            return self._plan_for(dataset, "", head, current)
        if self._leftover(dataset, current):
            return self._plan_for(dataset, "", head, current) if head else DatasetPlan(dataset, None, current, None)
        uncommitted = DataVersion(revision="", commit=None, md5=current.md5, size=current.size, nfiles=current.nfiles,
                                  uncommitted=True)  # fmt: skip
        return DatasetPlan(dataset, current, current, uncommitted)

    def _absent(self, dataset: Dataset, head: Pointer | None) -> DatasetPlan:
        """The plan where the tree has no .dvc file: the last run used none, or the project has none."""
        if head is not None and self._pins.get(dataset.param) == NONE:
            return self._plan_for(dataset, "", head, None)
        if head is not None:
            raise DataError(
                f"{dataset.pointer} is missing (HEAD has it)", f"git restore --source=HEAD -- {dataset.pointer}"
            )
        if dataset.required:
            raise DataError(f"{dataset.pointer} is missing: training needs {dataset.path}",
                            f"put your files into {dataset.path}, then: dvc add {dataset.path}")  # fmt: skip
        return DatasetPlan(dataset, None, None, None)

    def _pinned(self, dataset: Dataset, revision: str, current: Pointer | None) -> DatasetPlan:
        commit = self._git.resolve(revision)
        if commit is None:
            raise revision_error(dataset.pointer, revision, self._git)
        target = self._at(commit, dataset)
        if target is None:
            there = ", ".join(name for name in self._git.names(commit, "data") if name.endswith(".dvc"))
            raise DataError(
                f"{dataset.pointer} did not exist at {revision} ({commit[:8]}), which has {there or 'no data'}",
                f"choose one of: git log --oneline -- {dataset.pointer}",
            )
        if current is not None and current.md5 != target.md5:
            self._check_committed(dataset, revision, current)
        return self._plan_for(dataset, revision, target, current)

    def _unused(self, dataset: Dataset, current: Pointer | None) -> DatasetPlan:
        if dataset.required:
            raise DataError(f"data.{dataset.param}={NONE}: training needs {dataset.path}",
                            "leave it empty for the current version, or name another one")  # fmt: skip
        if current is not None:
            self._check_committed(dataset, NONE, current)
        return DatasetPlan(dataset, None, current, None)

    def _plan_for(self, dataset: Dataset, revision: str, target: Pointer, current: Pointer | None) -> DatasetPlan:
        version = DataVersion(
            revision=revision,
            commit=origin(self._git, dataset, target.md5),
            md5=target.md5,
            size=target.size,
            nfiles=target.nfiles,
            uncommitted=False,
        )
        return DatasetPlan(dataset, target, current, version)

    def _check_committed(self, dataset: Dataset, revision: str, current: Pointer) -> None:
        """Checks that git holds the version that the tree's .dvc names, so that switching away loses nothing."""
        head = self._at(self._head, dataset)
        if (head is None or head.md5 != current.md5) and not self._leftover(dataset, current):
            raise DataError(
                f"data.{dataset.param}={revision} would overwrite {dataset.path}, "
                f"an uncommitted version ({current.md5[:8]}) that git does not hold",
                f"git add {dataset.pointer} && git commit -m '{dataset.folder}: new version' -- {dataset.pointer}, "
                "then the same command",
            )

    def _leftover(self, dataset: Dataset, current: Pointer) -> bool:
        """Whether a differing .dvc was put there by an earlier pin, not by the user's own `dvc add`.

        A pin on a published experiment may name a version that only its tag holds: the last manifest names it.
        """
        if self._pins.get(dataset.param) == current.md5:
            return True
        return current.md5 in self._committed(dataset)

    def _committed(self, dataset: Dataset) -> set[str]:
        """Hashes of the versions that commits of HEAD or of any branch hold.

        By what the .dvc files say, not by their bytes: a checkout with core.autocrlf has other line ends.
        """
        hashes = set()
        for text in self._git.committed(dataset.pointer):
            with suppress(DataError):  # a commit with conflict marks names no version
                hashes.add(parse_pointer(text, dataset.pointer, dataset.folder).md5)
        return hashes

    def _at(self, commit: str, dataset: Dataset) -> Pointer | None:
        text = self._at_head[dataset.pointer] if commit == self._head else self._git.read(commit, dataset.pointer)
        return None if text is None else parse_pointer(text, f"{commit[:8]}:{dataset.pointer}", dataset.folder)

    def _current(self, dataset: Dataset) -> Pointer | None:
        path = self._workspace.workdir / dataset.pointer
        try:
            return parse_pointer(path.read_text(encoding="utf-8"), dataset.pointer, dataset.folder)
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return parse_pointer("", dataset.pointer)
