"""The only place that calls DVC: its commands, as a user would type them.

Each call starts DVC anew (about 0.5 s), so callers first find out by `.dvc` files alone whether a call is needed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from explicitlm.common.errors import StorageError
from explicitlm.vcs import git_command
from explicitlm.vcs.dvc_config import NOT_INITIALISED

# DVC writes the configuration of an isolated run in ASCII, which ends it in a clone whose path has other letters.
DVC_IN_UTF8 = (
    "import sys; from configobj import ConfigObj; "
    "ConfigObj.default_encoding = property(lambda self: 'utf-8', lambda self, value: None); "
    "from dvc.cli import main; sys.exit(main(sys.argv[1:]))"
)
WATCH_S = 5  # between two looks at a running transfer


class DvcError(StorageError):
    """DVC itself gave up, in its own words."""


class Dvc:
    """DVC in one folder.

    Args:
        root: the folder of the DVC workspace.
        site_cache: a folder for DVC's index instead of the shared one, for projects that live for seconds.
    """

    def __init__(self, root: Path, site_cache: Path | None = None) -> None:
        if not (root / ".dvc").is_dir():
            raise NOT_INITIALISED
        self.root = root
        # A stage inherits DVC's own variables; they must not steer the DVC that we call from within it.
        self._environment = {
            key: value for key, value in git_command.environment().items() if not key.startswith("DVC_EXP_")
        }
        self._environment.pop("DVC_STAGE", None)
        self._environment["PATH"] = own_path()
        self._environment.update(DVC_NO_ANALYTICS="1", PYTHONUTF8="1")  # names in Chinese in any locale
        self._environment.setdefault("AWS_MAX_ATTEMPTS", "2")  # s3fs repeats each of them 5 times more
        if site_cache is not None:
            self._environment["DVC_SITE_CACHE_DIR"] = str(site_cache)

    def _run(self, *arguments: str, watch: Callable[[], None] | None = None) -> str:
        """Runs `dvc ...`.

        Args:
            arguments: the command.
            watch: called every few seconds; what it raises ends DVC. With it, DVC's progress goes to the terminal.

        Raises:
            DvcError: with DVC's own words. StorageError: what `watch` raised.
        """
        show = watch is not None and sys.stderr.isatty()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", *arguments],
                cwd=self.root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=None if show else err,
            )
            try:
                while True:
                    try:
                        process.wait(None if watch is None else WATCH_S)
                        break
                    except subprocess.TimeoutExpired:
                        assert watch is not None
                        watch()
            except BaseException:
                process.kill()
                process.wait()
                raise
            output, errors = _text(out), _text(err)
        if process.returncode:
            raise DvcError(f"dvc {arguments[0]} failed: {_error_text(errors or output)}")
        return output

    def fetch(self, *targets: str, watch: Callable[[], None]) -> None:
        """Brings objects from the remote into the cache."""
        self._run("fetch", *targets, watch=watch)

    def push(self, *targets: str, watch: Callable[[], None]) -> None:
        """Sends objects from the cache to the remote."""
        self._run("push", *targets, watch=watch)

    def checkout(self, *targets: str, force: bool = False) -> None:
        """Makes the data in the folder what its .dvc files say, from the cache."""
        self._run("checkout", *(["--force"] if force else []), *targets)

    def add(self, *targets: str) -> None:
        """Takes data into the cache and writes its .dvc files."""
        self._run("add", *targets)

    def changes(self, target: str) -> dict[str, list[str]]:
        """How data (named by its own path, not by its .dvc file) differs from what its .dvc file says.

        Returns:
            paths by kind (added, modified, deleted, renamed, unknown); empty where nothing differs.
        """
        by_file = self._uncommitted("--granular", target)
        # Without the folder's list in the cache DVC cannot compare file by file, but still the folder as a whole.
        return self._uncommitted(target) if "unknown" in by_file else by_file

    def _uncommitted(self, *arguments: str) -> dict[str, list[str]]:
        report = json.loads(self._run("data", "status", "--json", *arguments) or "{}")
        kinds: dict[str, list[str]] = report.get("uncommitted", {})
        return {kind: paths for kind, paths in kinds.items() if paths}

    def repro_stage(self, stage: str, main: Path, experiment: str) -> bool:
        """Runs one stage here for an experiment, as `dvc exp run` would, shown on the terminal; whether it ended well.

        Args:
            main: the main checkout, of which the stage learns as in DVC's own isolated runs.
        """
        return self._show(main, {"DVC_EXP_NAME": experiment}, "repro", "--quiet", "--single-item", stage) == 0

    def commit_stage(self, stage: str, main: Path) -> None:
        """Takes what a stage left here into the cache and into dvc.lock, without running it.

        Raises:
            StorageError: the cache cannot take it.
        """
        if self._show(main, {}, "commit", "--quiet", "--force", stage):
            raise StorageError(
                f"dvc commit {stage} failed in {self.root} (DVC's message is above)",
                "the same command, once what DVC names is mended: nothing is lost",
            )

    def _show(self, main: Path, more: dict[str, str], *arguments: str) -> int:
        # DVC keeps a DVC_ROOT that is set.
        environment = self._environment | {"DVC_ROOT": str(main)} | more
        return subprocess.call(
            [sys.executable, "-m", "dvc", *arguments], cwd=self.root, env=environment, stdin=subprocess.DEVNULL
        )

    def save_experiment(self, name: str, *untracked: str) -> None:
        """Makes what lies here the experiment `name`, with what is staged and these untracked files and folders."""
        self._run("exp", "save", "--force", "--name", name, *(f"--include-untracked={path}" for path in untracked))

    def queue(self, name: str, overrides: list[str]) -> None:
        """Puts an experiment into the queue, from which `dvc queue start` runs it."""
        self._run("exp", "run", "--queue", "--name", name, *(f"--set-param={override}" for override in overrides))


def start_experiment(
    root: Path, name: str, overrides: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Starts `dvc exp run --temp -n NAME -S ...` with its output on the user's terminal.

    In a session of its own: Ctrl-C and the end of a terminal reach the caller alone, who tells each process what it
    understands; DVC itself would die of SIGTERM and SIGHUP and leave its stage alone.
    """
    command = [sys.executable, "-c", DVC_IN_UTF8, "exp", "run", "--temp", "--name", name]
    for override in overrides:
        command += ["--set-param", override]
    return subprocess.Popen(
        command,
        cwd=root,
        env=git_command.environment() | {"PYTHONUTF8": "1", "PATH": own_path()} | environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def own_path() -> str:
    """PATH with this interpreter first: dvc.yaml says `python`, and the environment need not be activated."""
    here = str(Path(sys.executable).parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PATH")])])


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _error_text(output: str) -> str:
    """DVC's error lines without its log prefix; of many that differ in the object only, one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    different = {re.sub(r"[0-9a-f]{30,}[^ :]*", "", line): line for line in errors}
    return "; ".join(list(different.values())[:3] or lines[-3:]) or "no message"
