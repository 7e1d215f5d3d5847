"""What the cluster phases ask of a scheduler. Slurm is one; PBS or LSF would be another module beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class JobRequest:
    """What a job asks of the scheduler.

    Attributes:
        nodes: machines of one experiment, each starts the same command. gpus: on each of them.
        time: limit as the scheduler knows it; "" is the partition's own.
        warn: seconds before the limit at which the training is told to save and end.
        python: interpreter on the compute nodes.
        more: further options, as the scheduler knows them.
    """

    nodes: int = 1
    gpus: int = 0
    time: str = ""
    warn: int = 120
    python: str = sys.executable
    more: tuple[str, ...] = ()


class Node(Protocol):
    """One of the machines on which a job trains; `rank` 0 is the one that records."""

    @property
    def rank(self) -> int:
        """Its number among the nodes of the job."""

    def environment(self, reports: Path) -> dict[str, str]:
        """The variables by which `accelerate launch` finds its place in the job."""


class Scheduler(Protocol):
    """Submits prepared experiments, and finds out where a process of a job runs."""

    def submit(self, main: Path, experiments: list[str], at: str | None, request: JobRequest) -> str:
        """Submits one job, or an array of several; returns its number.

        Raises:
            UsageError: what could only fail, before anything is submitted.
        """

    def jobs(self, main: Path) -> dict[str, str]:
        """What the user's jobs are doing with experiments of this project, by id: pending, running, completing, ...

        Empty where the scheduler is not here or does not answer.
        """

    def own_node(self, environment: Mapping[str, str]) -> Node | None:
        """Which node of a job this process is on; None where there is one process, or no job."""
