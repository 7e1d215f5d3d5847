"""The checkout that a command works in, and the handles on its git, DVC and data store.

A project has two roots that differ only in isolated runs: the *workdir* in which a stage works (for
`dvc exp run --temp` and queue workers a copy under .dvc/tmp/exps, for a cluster run a git worktree) and the *main*
checkout, which owns the records, logs, tags and caches. DVC names the latter in DVC_ROOT.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from explicitlm.common import layout
from explicitlm.common.environment import DVC_ROOT
from explicitlm.common.errors import UsageError
from explicitlm.vcs.dvc import Dvc
from explicitlm.vcs.git import Git
from explicitlm.vcs.pipeline_file import PipelineFile

if TYPE_CHECKING:
    from explicitlm.vcs.data_store import DataStore


@dataclass(frozen=True)
class Workspace:
    """The two roots of a project.

    Attributes:
        workdir: where a stage works.
        main: the main checkout.
    """

    workdir: Path
    main: Path

    @classmethod
    def of_stage(cls) -> Workspace:
        """The workspace of the stage that DVC is running in the current directory."""
        workdir = Path.cwd()
        return cls(workdir, Path(os.environ.get(DVC_ROOT, workdir)).resolve())

    @classmethod
    def find(cls) -> Workspace:
        """The project that holds the current directory.

        Raises:
            UsageError: there is none.
        """
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / layout.PIPELINE).is_file() and (folder / layout.PARAMS).is_file():
                return cls(folder, folder)
        raise UsageError(f"{here} is not inside an ExplicitLM project (no dvc.yaml and params.yaml here or above)",
                         "cd into your clone of the project")  # fmt: skip

    @property
    def isolated(self) -> bool:
        """Whether the workdir is a copy of the main checkout."""
        return self.workdir.resolve() != self.main

    @cached_property
    def git(self) -> Git:
        """Git in the main checkout, where branches, tags and records are."""
        return Git(self.main)

    @cached_property
    def workdir_git(self) -> Git:
        """Git in the workdir: in an isolated one its HEAD is the experiment's baseline."""
        return Git(self.workdir) if self.isolated else self.git

    @cached_property
    def dvc(self) -> Dvc:
        """DVC in the workdir."""
        return Dvc(self.workdir)

    @cached_property
    def main_dvc(self) -> Dvc:
        """DVC in the main checkout."""
        return Dvc(self.main)

    @property
    def pipeline(self) -> PipelineFile:
        """The dvc.yaml of the workdir."""
        return PipelineFile(self.workdir)

    def open_store(self) -> AbstractContextManager[DataStore]:
        """The cache and the remote of the project, for as long as the context lasts."""
        from explicitlm.vcs.data_store import open_store  # stages that move no data need none of it

        return open_store(self.main)

    def run_dir(self, experiment: str) -> Path:
        """What one run keeps on this machine only: resume states, reports, SwanLab's files."""
        return self.main / layout.run_dir(experiment)

    def check_committable(self) -> None:
        """Checks that a record could be committed on the current branch.

        Raises:
            UsageError: a plain `dvc exp run` has HEAD, or was killed here; HEAD is on no branch, or git does not know
                who commits.
        """
        from explicitlm.vcs import leftovers

        leftovers.check(self.main)
        self.git.check_committable()

    def has_states(self, experiment: str) -> bool:
        """Whether a run left a state to continue from."""
        return any((self.run_dir(experiment) / layout.STATES).glob("step-*"))

    def log(self, experiment: str) -> Path:
        """The output of one training."""
        return self.main / layout.log(experiment)
