"""The only place that calls DVC: its commands, as a user would type them.

Each call starts DVC anew (about 0.5 s), so callers first find out by `.dvc` files alone whether a call is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from explicitlm.errors import StorageError, UsageError

NOT_INITIALISED = UsageError("DVC is not initialised here (no .dvc folder)", "clone the project with git clone")


class Dvc:
    """DVC in one folder.

    Args:
        root: the folder of the DVC project.
        site_cache: a folder for DVC's index instead of the shared one, for projects that live for seconds.
    """

    def __init__(self, root: Path, site_cache: Path | None = None) -> None:
        if not (root / ".dvc").is_dir():
            raise NOT_INITIALISED
        self.root = root
        # A stage inherits DVC's own variables; they must not steer the DVC that we call from within it.
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_EXP_")}
        self._environment.pop("DVC_STAGE", None)
        self._environment["DVC_NO_ANALYTICS"] = "1"
        if site_cache is not None:
            self._environment["DVC_SITE_CACHE_DIR"] = str(site_cache)

    def _run(self, *arguments: str, show: bool = False) -> str:
        """Runs `dvc ...`; with `show`, its progress goes to the terminal.

        Raises:
            StorageError: with DVC's own words.
        """
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if show and sys.stderr.isatty() else subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise StorageError(f"dvc {arguments[0]} failed: {_words(done.stderr or done.stdout)}")
        return done.stdout

    def fetch(self, *targets: str) -> None:
        """Brings objects from the remote into the cache."""
        self._run("fetch", *targets, show=True)

    def push(self, *targets: str) -> None:
        """Sends objects from the cache to the remote."""
        self._run("push", *targets, show=True)

    def checkout(self, *targets: str, force: bool = False) -> None:
        """Makes the data in the folder what its .dvc files say, from the cache."""
        self._run("checkout", *(["--force"] if force else []), *targets)

    def add(self, *targets: str) -> None:
        """Takes data into the cache and writes its .dvc files."""
        self._run("add", *targets)

    def modified(self, target: str) -> bool:
        """Whether data (named by its own path, not by its .dvc file) is not what its .dvc file says."""
        report = json.loads(self._run("data", "status", "--json", target) or "{}")
        uncommitted = report.get("uncommitted", {})
        return any(uncommitted.get(kind) for kind in ("added", "modified", "deleted", "renamed", "unknown"))

    def workspace_row(self) -> dict[str, Any]:
        """What `dvc exp show` says of the workspace: params, metrics, hashes of deps and outs."""
        output = self._run("exp", "show", "--json", "--rev", "HEAD", "--hide-queued", "--hide-failed")
        for row in json.loads(output):
            if row.get("rev") == "workspace":
                return dict(row.get("data") or {})
        raise StorageError("dvc exp show has no row for the workspace", "dvc exp show")

    def default_remote(self) -> str | None:
        """Name of the remote that push and pull use."""
        try:
            return self._run("config", "core.remote").strip() or None
        except StorageError:
            return None


def experiment_run(root: Path, name: str, overrides: list[str], environment: dict[str, str]) -> int:
    """Runs `dvc exp run --temp -n NAME -S ...` on the user's terminal.

    Returns:
        DVC's exit code. Ctrl-C reaches DVC and its stages, not this process: they end in their own order.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name]
    for override in overrides:
        command += ["--set-param", override]
    return subprocess.call(command, cwd=root, env=os.environ | environment)


def _words(output: str) -> str:
    """DVC's error lines without its log prefix and its links."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return " ".join(errors or lines[-3:]) or "no message"
