"""`explicitlm run` twice in a project with a large corpus: how long until the first step, from typing the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _report import REPOSITORY

_END_S = 60.0  # for a run that is interrupted to leave things as they should be


def first_steps_of_runs(folder: Path, corpus: Path, tokenizer: Path, parameters: Sequence[str]) -> list[float]:
    """Seconds to the first step of two experiments with different seeds; the first one makes tokens and labels.

    Args:
        folder: for the project, a clone of this repository; on the corpus's disk, which is linked, not copied.
        corpus: its training text. tokenizer: comes with data/cache.
        parameters: KEY=VALUE.
    """
    project = folder / "project"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(project)], check=True)
    for key, value in (("user.name", "benchmark"), ("user.email", "benchmark@example.org")):
        _run(project, "git", "config", key, value)
    _run(project, "explicitlm", "sample-data")
    for path in (project / "data/database").iterdir():
        path.unlink()
    (project / "data/cache").mkdir()
    (project / "data/database" / corpus.name).hardlink_to(corpus)
    (project / "data/cache" / tokenizer.name).write_bytes(tokenizer.read_bytes())
    _run(project, "dvc", "add", "-q", "data/database", "data/cache")
    _run(project, "git", "add", "data")
    _run(project, "git", "commit", "-qm", "a large corpus")
    time.sleep(1.1)  # git reads files of the second of a commit again
    return [_first_step(project, f"exp_{seed}", [f"seed={seed}", *parameters]) for seed in (1, 2)]


def _first_step(project: Path, name: str, parameters: Sequence[str]) -> float:
    start, lines = time.perf_counter(), []
    command = ["explicitlm", "run", name, "-m", "how soon it begins", *parameters]
    with subprocess.Popen(
        command,
        cwd=project,
        env=_environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("step 1/"):
                break
        else:
            raise SystemExit(f"{name} ended with code {process.wait()} before its first step:\n{''.join(lines)}")
        seconds = time.perf_counter() - start
        os.killpg(process.pid, signal.SIGTERM)  # a shell starts what is in the background with SIGINT ignored
        process.stdout.read()  # it ends by itself, with its last words
        process.wait(_END_S)
    return seconds


def _run(project: Path, *words: str) -> None:
    done = subprocess.run(list(words), cwd=project, env=_environment(project), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")


def _environment(project: Path) -> dict[str, str]:
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": commands, "DVC_SITE_CACHE_DIR": str(project.parent / "site")}
