"""Who is at work on an experiment: one run at a time, and whoever dies gives it free.

A lock file alone would not do: what lives from an experiment's first stage to its last is DVC, in which nothing of ours
runs, and a training may outlive all that started it. So the processes themselves are noted, under a lock, and a
training is also known by its environment.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from explicitlm.common import layout
from explicitlm.common.environment import RUN_DIR
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_json
from explicitlm.common.ids import is_id

SAME_S = 2.0  # start times of one process, read twice, may differ by a corrected clock


@dataclass(frozen=True)
class Owner:
    """A process at work on an experiment: its host, id, start (seconds since 1970) and command."""

    host: str
    pid: int
    started: float
    command: str

    @classmethod
    def of(cls, process: psutil.Process) -> Owner:
        """The process as it is noted."""
        return cls(platform.node(), process.pid, process.create_time(), _command(process))

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, so that its life can be seen."""
        return self.host == platform.node()

    def lives(self) -> bool:
        """Whether it is still there; of another machine's process nobody here can say that it is not."""
        if not self.is_here:
            return True
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_S
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        return False


@contextmanager
def claim(main: Path, experiment: str) -> Iterator[None]:
    """Works on an experiment alone, for as long as the context lasts.

    Raises:
        UsageError: another process is at work on it; that one is not disturbed.
    """
    me = psutil.Process()
    is_new = _enter(main, experiment, me)
    try:
        yield
    finally:
        if is_new:
            with _guard(main), suppress(OSError):
                _save(main, experiment, [owner for owner in _noted(main, experiment) if owner.pid != me.pid])


@contextmanager
def exclusive(main: Path) -> Iterator[None]:
    """Keeps experiments from beginning, for as long as the context lasts: what one is about to use may not be removed.

    Raises:
        UsageError: one is at work.
    """
    with _guard(main):
        for path in sorted((main / layout.OWNERS).glob("*.json")):
            if active := [owner for owner in _noted(main, path.stem) if owner.lives()]:
                raise _at_work(main, path.stem, active[0])
        yield


def join(main: Path, experiment: str, process: psutil.Process) -> None:
    """Notes a process that works on an experiment until it dies: DVC, for the stage that it runs.

    Raises:
        UsageError: another one is at work on it, to whom this process does not belong.
    """
    _enter(main, experiment, process)


def runner() -> psutil.Process:
    """The process that runs the stages of which this one is one: the nearest DVC above it, else this one itself."""
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            args = process.cmdline()
            if any(Path(arg).name == "dvc" for arg in args[:3]):
                return process
    return psutil.Process()


def _enter(main: Path, experiment: str, process: psutil.Process) -> bool:
    """Notes a process; false where it is noted already."""
    if not is_id(experiment):
        return False  # whoever asks for it is told so by the checks of ids; no file gets such a name
    with _guard(main):
        noted = [owner for owner in _noted(main, experiment) if owner.lives()]
        family = {os.getpid(), process.pid, *(parent.pid for parent in psutil.Process().parents())}
        others = [owner for owner in noted if not (owner.is_here and owner.pid in family)]
        if not any(owner.is_here and owner.pid in family for owner in noted):
            others += _trainings(main / layout.run_dir(experiment), family)
        if others:
            raise _at_work(main, experiment, others[0])
        if any(owner.pid == process.pid for owner in noted):
            return False
        _save(main, experiment, [*noted, Owner.of(process)])
        return True


def _at_work(main: Path, experiment: str, owner: Owner) -> UsageError:
    if owner.is_here:
        return UsageError(f"{experiment} is at work: {owner.command} (process {owner.pid})",
                          f"wait for it (tail -f {shlex.quote(layout.log(experiment))}), "
                          f"or end it: kill {owner.pid}")  # fmt: skip
    return UsageError(f"{experiment} is at work on {owner.host}: {owner.command} (process {owner.pid})",
                      f"wait for it; if it is known to have ended: rm {shlex.quote(str(_file(main, experiment)))}"
                      )  # fmt: skip


def _trainings(run_dir: Path, family: set[int]) -> list[Owner]:
    """Processes of a training that outlived whoever started it: they save into the run's folder still."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            job = environment.get("SLURM_JOB_ID")  # processes of one job on several nodes train together
            is_own = process.pid in family or (job is not None and job == os.environ.get("SLURM_JOB_ID"))
            if environment.get(RUN_DIR) == str(run_dir) and not is_own:
                found.append(Owner.of(process))
    return [owner for owner in found if owner.lives()]


def _guard(main: Path) -> FileLock:
    (main / layout.OWNERS).mkdir(parents=True, exist_ok=True)
    return FileLock(main / layout.OWNERS / ".lock", timeout=60)


def _file(main: Path, experiment: str) -> Path:
    return main / layout.OWNERS / f"{experiment}.json"


def _noted(main: Path, experiment: str) -> list[Owner]:
    try:
        content = json.loads(_file(main, experiment).read_text(encoding="utf-8"))
        return [Owner(**owner) for owner in content["owners"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _save(main: Path, experiment: str, owners: list[Owner]) -> None:
    if owners:
        write_json(_file(main, experiment), {"owners": [asdict(owner) for owner in owners]})
    else:
        _file(main, experiment).unlink(missing_ok=True)


def _command(process: psutil.Process) -> str:
    args = process.cmdline() or [process.name()]
    if Path(args[0]).name.startswith("python") and len(args) > 1:
        args = args[1:]
    return shlex.join([Path(args[0]).name, *args[1:]][:6])
