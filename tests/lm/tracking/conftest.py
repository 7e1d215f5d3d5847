"""The real SwanLab SDK in processes of their own, shut off from this machine's home, settings and network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
API_KEY = "stand-in-key-that-must-stay-secret"
DEADLINE = 600.0


@dataclass
class Server:
    """A running stand-in."""

    url: str
    process: subprocess.Popen[str]

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_state", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def run(self) -> dict[str, Any]:
        """The only run it has."""
        (run,) = self.state()["runs"].values()
        result: dict[str, Any] = run
        return result

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Ended:
    """What a trainee left."""

    code: int
    events: dict[str, dict[str, Any]]
    output: str
    folder: Path

    @property
    def info(self) -> dict[str, Any]:
        return self.events["finished"]


class Trainee:
    """A running trainee.py.

    Args:
        folder: its working directory and home; the run directory is `folder`/run.
        host: the server's address.
        key: the API key; "" for none.
    """

    def __init__(
        self, folder: Path, steps: int, end: str, host: str, *options: str, key: str = API_KEY, path: str = ""
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "SWANLAB_API_HOST": host}
        environment |= {"SWANLAB_API_KEY": key} if key else {}
        environment |= {"PYTHONPATH": path} if path else {}
        self._out = (folder / "stdout.txt").open("w+")
        self._err = (folder / "stderr.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "trainee.py"), str(folder / "run"), str(steps), end, *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
        )

    def events(self) -> dict[str, dict[str, Any]]:
        lines = (self.folder / "stdout.txt").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return {event.pop("event"): event for event in found}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until it holds; fails after DEADLINE or when the process has ended."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert self.process.poll() is None, (self.folder / "stderr.txt").read_text()
            assert time.monotonic() < end, "did not happen in time"
            time.sleep(0.05)

    def wait(self) -> Ended:
        code = self.process.wait(DEADLINE)
        self._out.close()
        self._err.close()
        output = (self.folder / "stdout.txt").read_text() + (self.folder / "stderr.txt").read_text()
        return Ended(code, self.events(), output, self.folder)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Server]]:
    """Starts stand-ins, with faults such as "500:/api/house"."""
    servers: list[Server] = []

    def start(*faults: str) -> Server:
        command = [sys.executable, str(HERE / "swanlab_stand_in.py"), "--port", "0"]
        for fault in faults:
            command += ["--fault", fault]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        servers.append(Server(process.stdout.readline().strip(), process))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        assert server.process.stdout
        server.process.stdout.close()


@pytest.fixture(scope="module")
def trainee() -> Iterator[Callable[..., Trainee]]:
    """Starts trainees, and ends those that a failed test has left."""
    started: list[Trainee] = []

    def start(*arguments: Any, **options: Any) -> Trainee:
        started.append(Trainee(*arguments, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
