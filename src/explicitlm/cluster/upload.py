"""Uploads to SwanLab what a run kept on disk, and believes only what the server says it holds.

`swanlab sync` may answer 0 with nothing stored (HTTP 400), or retry for ever (HTTP 500): it gets a time limit, and the
server is asked afterwards. The recorded id is always given: without it each call would make a new experiment.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from explicitlm.lm.tracking.swanlab import sdk
from explicitlm.records import tracking

logger = logging.getLogger(__name__)

SYNC_SECONDS = 300.0
CONFIRM_SECONDS = 60.0
REDIRECTING = ("SWANLAB_RUN_ID", "SWANLAB_PROJ_NAME")  # `swanlab sync` obeys them silently
CURVES = ("train.csv", "val.csv")
STATES: dict[str, sdk.State] = {"done": "success", "interrupted": "aborted"}


def upload(main: Path, experiment: str, seconds: float = SYNC_SECONDS) -> bool:
    """Uploads one experiment's SwanLab run, if it has one that is not known to be there.

    Never fails: what is not confirmed stays planned, and can be tried again at any time.

    Args:
        seconds: limit of each folder's upload.

    Returns:
        whether nothing is left to upload.
    """
    tracker = tracking.load(main, experiment)
    if tracker.get("status") not in ("planned", "online"):
        return True
    try:
        own = sdk.own_workspace()  # asked in any case: it also says whether there is a server at all
        workspace = tracker["workspace"] or own
        url = f"{sdk.account()[0]}/@{workspace}/{tracker['project']}/runs/{tracker['id']}"
        run_dir = tracking.path_of(main, experiment).parent
        for folder in _folders(run_dir):
            _sync(folder, tracker["id"], tracker["project"], workspace, seconds)
        _confirm(run_dir, f"{workspace}/{tracker['project']}/{tracker['id']}")
    except sdk.UnavailableError as reason:
        logger.info(f"SwanLab: not uploaded, {reason}; later: explicitlm cluster post {experiment} --sync-only")
        return False
    tracking.save(main, experiment, {**tracker, "workspace": workspace, "url": url, "status": "synced"})
    logger.info(f"SwanLab: {url} holds the whole run")
    return True


def _folders(run_dir: Path) -> list[Path]:
    """What the processes of a run wrote, oldest first; a process that was killed at once left nothing to upload."""
    folders = sorted((run_dir / "swanlog").glob("run-*"))
    found = [folder for folder in folders if any(file.stat().st_size for file in folder.glob("*.swanlab"))]
    if not found:
        raise sdk.UnavailableError(f"there is nothing in {run_dir / 'swanlog'}")
    return found


def _sync(folder: Path, identifier: str, project: str, workspace: str, seconds: float) -> None:
    command = [
        sys.executable,
        "-m",
        "swanlab",
        "sync",
        str(folder),
        "--id",
        identifier,
        "-p",
        project,
        "-w",
        workspace,
    ]
    environment = {key: value for key, value in os.environ.items() if key not in REDIRECTING}
    environment |= {"COLUMNS": "1000", "SWANLAB_INTERACTIVE": "0"}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=seconds)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise sdk.UnavailableError(f"the upload did not end within {seconds:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise sdk.UnavailableError(f"swanlab sync ended with {done.returncode}: {' '.join(lines[-1:])[:300]}")


def _confirm(run_dir: Path, path: str) -> None:
    """Asks the server for the state and the last step of every curve, in a thread that may hang."""
    status = json.loads((run_dir / "status.json").read_text(encoding="utf-8"))["status"]
    # A process that was killed has lost the last seconds of its curves: there the state alone must do.
    steps = {} if status == "running" else _last_steps(run_dir)
    answers: list[bool] = []
    asking = threading.Thread(
        target=lambda: answers.append(sdk.is_confirmed(path, STATES.get(status, "crashed"), steps)), daemon=True
    )
    asking.start()
    asking.join(CONFIRM_SECONDS)
    if answers != [True]:
        raise sdk.UnavailableError("the server does not say that it holds all of it")


def _last_steps(run_dir: Path) -> dict[str, int]:
    """The last step of every curve."""
    steps = {}
    for path in (run_dir / name for name in CURVES if (run_dir / name).exists()):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                steps.update({key: int(row["step"]) for key, value in row.items() if key != "step" and value})
    return steps
