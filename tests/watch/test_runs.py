"""Runs under way: living, dead and unknown ones; word of the end of one, by a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import made_records
import pytest

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.vcs.workspace import Workspace
from explicitlm.watch import runs, watching

LOG = "words\nstep 10/200 loss 3.5000 lr 1.00e-03 tok/s 1234\nstep 20/200 loss {loss} lr 1.00e-03 tok/s 1300\nmore\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made_records.bare_project(tmp_path)
    return tmp_path


def leave(root: Path, experiment: str, status: str, pid: int | None, loss: str = "3.2500") -> None:
    """What a training leaves in its run folder and its log."""
    folder = root / layout.run_dir(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(json.dumps({"status": status, "pid": pid}))
    (root / layout.LOGS).mkdir(exist_ok=True)
    (root / layout.log(experiment)).write_text(LOG.format(loss=loss))


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a training and waits for the end of its input."""
    script = tmp_path / layout.TRAINING_SCRIPT
    script.write_text("import sys; sys.stdin.read()")
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_living_dead_and_unknown(root: Path, training: subprocess.Popen[bytes]) -> None:
    leave(root, "lives", "running", training.pid)
    leave(root, "dead", "running", os.getpid())  # the number lives, but as another program
    leave(root, "ended", "done", 1)
    tree = root / layout.cluster_tree("away")
    tree.mkdir(parents=True)
    leave(tree, "away", "running", 2**22 + 1, loss="nan")
    found = {run.id: run for run in runs.current(Workspace(root, root))}
    assert {name: run.state for name, run in found.items()} == {
        "lives": "running", "dead": "dead", "ended": "done", "away": "unknown",
    }  # fmt: skip
    lives = found["lives"]
    assert (lives.step, lives.steps, lives.loss, lives.speed) == (20, 200, 3.25, 1300.0)
    assert lives.left_s is not None and lives.left_s >= 0
    assert found["away"].as_dict()["diverged"] is True and found["away"].as_dict()["loss"] is None
    text = "\n".join(runs.lines(list(found.values())))
    assert "20/200" in text and "NaN" in text


def test_jobs_of_other_projects_and_a_scheduler_that_says_strange_things_are_no_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A squeue in the place of the real one, which only says what it should."""
    jobs = root / layout.CLUSTER / "jobs"
    jobs.mkdir(parents=True)
    (jobs / "two.sh").write_text("ids=(exp_1 'exp 2')\n")
    (tmp_path / "bin").mkdir()
    said = ["PENDING|N/A|/elsewhere/job.sh", f"RUNNING|1|{jobs}/two.sh", f"PENDING|0|{jobs}/two.sh", "slurm_load_jobs",
            f"PENDING|9|{jobs}/two.sh", f"PENDING|0|{jobs}/gone.sh"]  # fmt: skip
    squeue = tmp_path / "bin/squeue"
    squeue.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(said) + "\nEND\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    found = runs.current(Workspace(root, root))
    assert {run.id: (run.place, run.state) for run in found} == {
        "exp_1": ("cluster", "pending"), "exp 2": ("cluster", "running"),
    }  # fmt: skip
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert runs.current(Workspace(root, root)) == []


def test_silence_is_told(root: Path, training: subprocess.Popen[bytes]) -> None:
    leave(root, "slow", "running", training.pid)
    os.utime(root / layout.log("slow"), (1e9, 1e9))
    (run,) = runs.current(Workspace(root, root))
    assert run.stalled and "stalled?" in "\n".join(runs.lines([run]))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"status": null}'])
def test_a_broken_status_is_no_run(root: Path, text: str) -> None:
    leave(root, "x", "running", 1)
    (root / layout.run_dir("x") / "status.json").write_text(text)
    assert runs.current(Workspace(root, root)) == []


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on loopback that keeps what it is told."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/hook", got
        http.shutdown()
        thread.join()


def test_word_of_an_end(
    root: Path, training: subprocess.Popen[bytes], server: tuple[str, list[dict[str, Any]]]
) -> None:
    address, got = server
    leave(root, "lives", "running", training.pid)
    leave(root, "earlier", "failed", 1)
    seen: list[list[str]] = []

    def look(found: list[runs.Run]) -> None:
        seen.append([run.state for run in found])
        if len(seen) == 2:
            training.kill()
            training.wait()
            leave(root, "lives", "failed", training.pid)

    watching.watch(Workspace(root, root), address, 0.01, look)
    assert seen == [["running"], ["running"], ["failed"]]
    assert [(message["event"], message["id"], message["state"]) for message in got] == [("ended", "lives", "failed")]


def test_an_address_that_does_not_answer_ends_nothing(root: Path, logged: list[str]) -> None:
    leave(root, "x", "running", 1)
    (run,) = runs.current(Workspace(root, root))
    watching._notify("http://127.0.0.1:9/hook", "ended", run)
    assert any("127.0.0.1 was not told that x ended" in line for line in logged)
    with pytest.raises(UsageError, match="is no http address"):
        watching.watch(Workspace(root, root), "file:///etc/passwd", 1, lambda _: None)
