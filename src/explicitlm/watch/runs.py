"""The runs of a project that have not ended: in the workspace, isolated, queued, in cluster trees and Slurm's jobs.

Every run keeps its status in its run folder and its lines in its log, whichever way it was started. Whether its process
lives can be said only on the machine where it runs; a cluster tree's process may be anywhere, so there only the log
counts, unless the scheduler knows its job.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from explicitlm.cluster.schedulers import SCHEDULER
from explicitlm.common import layout
from explicitlm.common.errors import ExplicitLMError
from explicitlm.report.curves import parse
from explicitlm.vcs.workspace import Workspace

WAITING = ("queued", "pending")
STALLED_S = 600.0  # without a line in the log
_STEP = re.compile(r"^step (\d+)/(\d+) loss (\S+) lr (\S+) tok/s (\S+)\s*$")
_TAIL = 64 << 10  # bytes of a log in which its last report stands


@dataclass(frozen=True)
class Run:
    """A run as it is now.

    Attributes:
        id: the experiment. place: here, cluster (its tree), queue (DVC's).
        state: running; queued, or pending in the scheduler; dead (its process is gone and said nothing); unknown (a
            process of another machine, perhaps); done, failed or interrupted.
        step, steps, loss, speed: of the last report in the log; None before the first. speed: tokens a second.
        left_s: seconds left at the pace since the log began; None where that cannot be said.
        against: the baseline's id. ahead: loss less the baseline's at the same step.
        silent_s: seconds since the last line in the log.
    """

    id: str
    place: str
    state: str
    step: int | None
    steps: int | None
    loss: float | None
    speed: float | None
    left_s: float | None
    against: str | None
    ahead: float | None
    silent_s: float | None

    @property
    def under_way(self) -> bool:
        """Whether it has not ended, as far as can be known."""
        return self.state in ("running", "unknown", *WAITING)

    @property
    def stalled(self) -> bool:
        """Whether it has been silent for long."""
        return self.state in ("running", "unknown") and (self.silent_s or 0.0) > STALLED_S

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a loss that is no number becomes null, and `diverged` says so."""
        values = asdict(self) | {
            "stalled": self.stalled,
            "diverged": self.loss is not None and not math.isfinite(self.loss),
        }
        return {key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in values.items()}  # fmt: skip


def current(workspace: Workspace) -> list[Run]:
    """Every run that has a status, the longest silent last, then those that wait for their turn."""
    jobs = SCHEDULER.jobs(workspace.main)
    found = (_run(workspace, folder, root, place, jobs) for folder, root, place in _folders(workspace.main))
    by_id = {run.id: run for run in found if run}
    unseen = [
        *(_unseen(name, "cluster", _of_job(state)) for name, state in jobs.items()),
        *(_unseen(name, "queue", "queued") for name in _queued(workspace)),
    ]
    for run in unseen:
        if run.id not in by_id or not by_id[run.id].under_way:
            by_id[run.id] = run
    return sorted(by_id.values(), key=lambda run: (run.state in WAITING, run.silent_s or 0.0, run.id))


def _queued(workspace: Workspace) -> list[str]:
    try:
        return workspace.git.queued()
    except ExplicitLMError:  # no git here
        return []


def _unseen(experiment: str, place: str, state: str) -> Run:
    """A run that has left nothing here yet."""
    return Run(experiment, place, state, None, None, None, None, None, None, None, None)


def _folders(main: Path) -> Iterator[tuple[Path, Path, str]]:
    """Run folders, the root that their logs lie in, and where they are."""
    for status in (main / layout.RUNS).glob("*/status.json"):
        yield status.parent, main, "here"
    for status in (main / layout.CLUSTER).glob(f"*/{layout.RUNS}/*/status.json"):
        tree = main / layout.CLUSTER / status.relative_to(main / layout.CLUSTER).parts[0]
        if status.parent.name == tree.name:
            yield status.parent, tree, "cluster"


def _run(workspace: Workspace, folder: Path, root: Path, place: str, jobs: dict[str, str]) -> Run | None:
    status = _json(folder / "status.json")
    if not status.get("status"):
        return None
    experiment = folder.name
    log = root / layout.log(experiment)
    step, steps, loss, speed = _last_report(log)
    started, written = _times(folder / "status.json", log)
    state = _state(status, place, jobs.get(experiment))
    left = (
        (written - started) / step * (steps - step)
        if step and steps and started and written and state == "running"
        else None
    )
    question = _json(folder / "manifest.json").get("question") or {}
    against = question.get("against")
    there = _baseline_loss(workspace, against, step) if against and step else None
    return Run(
        experiment, place, state, step, steps, loss, speed, left, against,
        None if there is None or loss is None else loss - there,
        max(0.0, time.time() - written) if written else None,
    )  # fmt: skip


def _of_job(state: str) -> str:
    """Of the many states that a scheduler knows; one that was interrupted and is to be continued is pending again."""
    return "pending" if state == "pending" else "running"


def _state(status: dict[str, Any], place: str, job: str | None) -> str:
    if status["status"] != "running":
        return str(status["status"])
    if job is not None and place == "cluster":
        return _of_job(job)
    try:
        process = psutil.Process(int(status["pid"]))
        if layout.TRAINING_SCRIPT in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
            return "running"
    except (psutil.Error, KeyError, TypeError, ValueError):
        pass
    return "dead" if place == "here" else "unknown"


def _times(status: Path, log: Path) -> tuple[float | None, float | None]:
    """When the training wrote its status, at its start, and when its log was last written."""
    try:
        return status.stat().st_mtime, log.stat().st_mtime
    except OSError:
        return None, None


def _last_report(log: Path) -> tuple[int | None, int | None, float | None, float | None]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        if found := _STEP.match(line):
            try:
                return int(found[1]), int(found[2]), float(found[3]), float(found[5])
            except ValueError:
                continue
    return None, None, None, None


def _baseline_loss(workspace: Workspace, against: str, step: int) -> float | None:
    """The baseline's training loss at a step, from its own commit."""
    try:
        text = workspace.git.read(f"refs/tags/{against}", f"{layout.RUN}/train.csv")
    except ExplicitLMError:
        return None
    return dict(parse(text, "train/loss_ce", most=None)).get(float(step)) if text else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def lines(found: list[Run]) -> list[str]:
    """A table for a person."""
    rows = [["id", "where", "state", "step", "loss", "against", "tok/s", "left", "silent"]]
    for run in found:
        state = "stalled?" if run.stalled else run.state
        loss = "" if run.loss is None else f"{run.loss:.4f}" if math.isfinite(run.loss) else "NaN"
        ahead = "" if run.ahead is None else f"{run.ahead:+.4f} {run.against}"
        step = "" if run.step is None else f"{run.step}/{run.steps}"
        speed = "" if run.speed is None else f"{run.speed:.0f}"
        rows.append([run.id, run.place, state, step, loss, ahead, speed, _span(run.left_s), _span(run.silent_s)])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
