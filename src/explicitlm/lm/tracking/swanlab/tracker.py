"""Curves for SwanLab that can never harm the training: not its result, its exit code or its speed.

The SDK lives in one daemon thread. `log` puts into a queue and returns; `finish` waits for a bounded time.
SwanLab may be slow, down, killed mid-run or not installed: every row is on disk under `run_dir`/swanlog as
well (and in the local metrics), and `swanlab sync` uploads it later to the URL that was planned from the start.
"""

from __future__ import annotations

import atexit
import contextlib
import queue
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from explicitlm.common.files import write_text
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.tracking.swanlab import sdk
from explicitlm.lm.tracking.swanlab.sdk import Mode, Plan, State, UnavailableError
from explicitlm.lm.typed import dump

START_SECONDS = 20.0
FINISH_SECONDS = {"success": 30.0, "crashed": 5.0, "aborted": 5.0}  # a scheduler kills soon after SIGTERM
TICK_SECONDS = 1.0  # rows go to the SDK together, then rest: it writes when it has been idle for 0.5 s
_UNSAFE_IN_ID = re.compile(r'[<>:"/\\|?*#%\x00-\x20\x7f]+')


class Tracker(Protocol):
    """What the training sees. No method raises, and none waits for the network except `finish`."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hands on the values of one step; returns at once."""

    def finish(self, state: State, error: str | None = None) -> None:
        """Ends the run; returns after a bounded time, whatever the server does. Only the first call counts."""

    def info(self) -> dict[str, Any]:
        """id, project, workspace, url, status (online, synced, planned, none), logdir; no secret."""


class NullTracker:
    """Tracks nothing."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def finish(self, state: State, error: str | None = None) -> None:
        """Does nothing."""

    def info(self) -> dict[str, Any]:
        """The same keys as any tracker's, without values."""
        keys = ("id", "project", "workspace", "url")
        return {**dict.fromkeys(keys), "status": "none", "logdir": None}


def start_tracker(config: TrainConfig, run_id: str, description: str, run_dir: Path, resume: bool = False) -> Tracker:
    """Starts tracking; call it on rank 0 only.

    Returns within START_SECONDS; a server that is slower than that is still waited for in the background.

    Args:
        config: use_swanlab and swanlab_*; the whole of it is shown on the run's page.
        run_id: the experiment's id and name; with the time it makes the SwanLab id.
        description: free text, may be empty.
        run_dir: SwanLab's files go to its subfolder swanlog.
        resume: continue the SwanLab run that this run_dir already has, if any.
    """
    if not config.use_swanlab or config.swanlab_mode == "disabled":
        return NullTracker()
    try:
        web_host, workspace = sdk.account()
        plan = Plan(
            id=_settled_id(run_id, run_dir / "swanlog" / "id", resume),
            name=run_id,
            description=description,
            project=config.swanlab_project,
            workspace=config.swanlab_workspace or workspace,
            web_host=web_host,
            folder=run_dir / "swanlog",
            config=dump(config),
        )
    except (UnavailableError, OSError) as reason:
        _print_message(f"no tracking: {reason}")
        return NullTracker()
    tracker = SwanLabTracker(plan, config.swanlab_mode)
    tracker.wait_started(START_SECONDS)
    return tracker


class SwanLabTracker:
    """A run in SwanLab, behind a queue.

    Args:
        plan: the run.
        mode: online falls back to offline when there is no route, no key or no permission.
    """

    def __init__(self, plan: Plan, mode: Mode) -> None:
        self._plan = plan
        self._mode: Mode = mode
        self._rows: queue.SimpleQueue[tuple[int, dict[str, float]]] = queue.SimpleQueue()
        self._last_steps: dict[str, int] = {}
        self._started = threading.Event()
        self._ending = threading.Event()
        self._end: tuple[State, str | None] = ("success", None)
        # Read by info() from the training's thread; each is set once, by the worker.
        self._status = "planned"
        self._workspace = plan.workspace
        self._logdir: Path | None = None
        self._worker = threading.Thread(target=self._work, name="swanlab", daemon=True)
        self._worker.start()
        atexit.register(self._at_exit)

    def wait_started(self, seconds: float) -> None:
        """Waits until it is known whether the run is online or offline, at most so long."""
        if not self._started.wait(seconds):
            _print_message(f"still starting after {seconds:.0f} s; training goes on, its numbers wait")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Puts one step's values into the queue."""
        self._rows.put((step, dict(values)))

    def finish(self, state: State, error: str | None = None) -> None:
        """Ends the run and waits for its upload, at most FINISH_SECONDS."""
        if self._ending.is_set():
            return
        self._end = (state, error)
        self._ending.set()
        self._worker.join(FINISH_SECONDS[state])
        if self._status in ("online", "planned"):
            _print_message(f"not all of it is uploaded; later: {self._sync_command()}")

    def info(self) -> dict[str, Any]:
        """See `Tracker.info`. The URL is the planned one until the server is known to have the run."""
        none = self._status == "none"
        return {
            "id": self._plan.id,
            "project": self._plan.project,
            "workspace": self._workspace,
            "url": None if none else self._plan.url(self._workspace),
            "status": self._status,
            "logdir": str(self._logdir) if self._logdir else None,
        }

    def _at_exit(self) -> None:
        self.finish("crashed", "the process ended before the training had finished")

    def _work(self) -> None:
        """The SDK's thread. Nothing may leave it but a message: a traceback would look like ours."""
        try:
            run = self._open()
        except UnavailableError as reason:
            self._status = "none"
            _print_message(f"no tracking: {reason}")
            return
        finally:
            self._started.set()
        try:
            ended = False
            while not ended:
                ended = self._ending.wait(TICK_SECONDS)
                sdk.flush(run)
                self._flush_rows(run)
            state, error = self._end
            run.finish(state=state, error=error)
            if self._status == "online" and sdk.is_confirmed(self._path(), state, self._last_steps):
                self._status = "synced"
        except Exception as error:
            _print_message(f"tracking stopped: {type(error).__name__}")

    def _open(self) -> Any:
        """Opens the run in the wanted mode, or offline.

        Raises:
            UnavailableError: not even offline.
        """
        if self._mode == "online":
            try:
                run = sdk.open_run(self._plan, "online")
                self._workspace = sdk.workspace_of(run) or self._workspace
                self._logdir = Path(run.dir)
                self._status = "online"
                return run
            except UnavailableError as reason:
                _remove_empty_runs(self._plan.folder)
                _print_message(f"offline, because: {reason}")
        run = sdk.open_run(self._plan, "local" if self._mode == "local" else "offline")
        self._logdir = Path(run.dir)
        return run

    def _flush_rows(self, run: Any) -> None:
        """Gives the SDK every row that waits."""
        with contextlib.suppress(queue.Empty):
            while True:
                step, values = self._rows.get_nowait()
                run.log(values, step=step)
                self._last_steps.update(dict.fromkeys(values, step))

    def _path(self) -> str:
        return f"{self._workspace}/{self._plan.project}/{self._plan.id}"

    def _sync_command(self) -> str:
        place = self._logdir or self._plan.folder
        where = f" -w {self._workspace}" if self._workspace else ""
        return f"swanlab sync {place} --id {self._plan.id} -p {self._plan.project}{where}"


def _settled_id(run_id: str, record: Path, resume: bool) -> str:
    """The SwanLab id: new for every run, since a server skips the steps that an id already has."""
    if resume and record.exists():
        return record.read_text(encoding="utf-8").strip()
    settled = f"{_UNSAFE_IN_ID.sub('_', run_id)[:200]}-{time.strftime('%Y%m%d-%H%M%S')}"
    write_text(record, settled + "\n")
    return settled


def _remove_empty_runs(folder: Path) -> None:
    """A failed online start leaves an empty folder that `swanlab sync` would stumble over."""
    for path in folder.glob("run-*"):
        with contextlib.suppress(OSError):
            path.rmdir()  # refuses a folder that holds anything


def _print_message(message: str) -> None:
    print(f"swanlab: {message}", file=sys.stderr, flush=True)
