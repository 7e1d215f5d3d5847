"""The tracker against the real SDK: offline, online, and with a server that fails in every known way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from explicitlm.lm.config import parse_train_config
from explicitlm.lm.tracking.swanlab.tracker import FINISH_SECONDS, START_SECONDS, NullTracker, start_tracker

API_KEY = "stand-in-key-that-must-stay-secret"
NOBODY = "http://127.0.0.1:9"  # the discard port: refused
OFFLINE = "swanlab_mode=offline"
STEPS = 30


def steps_on_disk(folder: Path) -> set[int]:
    """The steps of train/loss_ce in the files of every run under a trainee's folder."""
    return {
        record.scalar.step
        for path in folder.glob("run/swanlog/run-*/run-*.swanlab")
        for record in records(path)
        if record.HasField("scalar") and record.scalar.key == "train/loss_ce"
    }


def records(path: Path) -> Iterator[Any]:
    """The complete records of a run's file; the last may be cut while it is being written."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    if path.stat().st_size < 7:
        return
    reader = DataStoreReader()
    reader.open(path)
    while True:
        try:
            data = reader.scan()
        except Exception:  # of the SDK, for a record that is cut
            break
        if data is None:
            break
        record = Record()
        record.ParseFromString(data)
        yield record
    reader.close()


def end_on_disk(folder: Path) -> str | None:
    from swanlab.proto.swanlab.run.v1.run_pb2 import RunState

    for path in folder.glob("run/swanlog/run-*/run-*.swanlab"):
        for record in records(path):
            if record.HasField("finish"):
                return str(RunState.Name(record.finish.state)).removeprefix("RUN_STATE_")
    return None


def sync(info: dict[str, Any], folder: Path, host: str) -> None:
    """Uploads as the documentation says."""
    swanlab = Path(sys.executable).with_name("swanlab")
    command = [str(swanlab), "sync", info["logdir"], "--id", info["id"], "-p", info["project"], "-w", "tester"]
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "COLUMNS": "1000"}
    environment |= {"SWANLAB_API_KEY": API_KEY, "SWANLAB_API_HOST": host}
    subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=True, timeout=60)


def test_without_swanlab_everything_is_there_and_nothing_happens(tmp_path: Path) -> None:
    for values in ({}, {"use_swanlab": True, "swanlab_mode": "disabled"}):
        tracker = start_tracker(parse_train_config(values, "the test"), "exp_003", "", tmp_path)
        tracker.log(1, {"train/loss_ce": 1.0})
        tracker.finish("success")
        assert isinstance(tracker, NullTracker)
        assert tracker.info()["status"] == "none"
        assert list(tracker.info()) == ["id", "project", "workspace", "url", "status", "logdir"]
    assert list(tmp_path.iterdir()) == []


def test_a_broken_installation_is_survived(tmp_path: Path, trainee: Callable[..., Any]) -> None:
    (tmp_path / "broken" / "swanlab").mkdir(parents=True)
    (tmp_path / "broken" / "swanlab" / "__init__.py").write_text("raise ImportError('half of it is missing')")
    ended = trainee(tmp_path, STEPS, "success", NOBODY, path=str(tmp_path / "broken")).wait()
    assert ended.code == 7
    assert ended.info["status"] == "none" and ended.info["url"] is None
    assert "no tracking: ImportError: half of it is missing" in ended.output


def test_offline_run_reaches_its_planned_url_later(
    tmp_path: Path, trainee: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    server = serve()
    ended = trainee(tmp_path, STEPS, "success", server.url, OFFLINE, "swanlab_workspace=tester").wait()
    info = ended.info
    assert ended.code == 7 and info["status"] == "planned" and not info["rng_moved"]
    assert re.fullmatch(r"exp_003-\d{8}-\d{6}", info["id"])
    assert info["url"] == f"{server.url}/@tester/ExplicitLM/runs/{info['id']}"
    assert ended.events["started"]["url"] == info["url"]
    assert steps_on_disk(tmp_path) == set(range(STEPS)) and end_on_disk(tmp_path) == "FINISHED"
    assert server.state()["requests"] == 0
    sync(info, tmp_path, server.url)
    assert list(server.state()["runs"]) == [info["id"]]
    assert server.run()["state"] == "FINISHED"
    assert set(server.run()["scalars"]["train/loss_ce"]) == {str(step) for step in range(STEPS)}


def test_online_run_is_synced_and_tells_no_secret(
    tmp_path: Path, trainee: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    server = serve()
    token = "ghp_token_in_the_remote"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    remote = f"https://user:{token}@example.invalid/repo.git"
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    ended = trainee(tmp_path, STEPS, "success", server.url).wait()
    assert ended.code == 7
    assert ended.events["started"]["status"] == "online"
    assert ended.info["status"] == "synced" and not ended.info["rng_moved"]
    assert ended.info["url"] == f"{server.url}/@tester/ExplicitLM/runs/{ended.info['id']}"
    run = server.run()
    assert run["state"] == "FINISHED" and run["head"]["name"] == "exp_003"
    assert run["head"]["description"] == "a note, 一句话 🙂"
    assert run["profile"]["config"]["learning_rate"]["value"] == 2e-4
    assert run["scalars"]["train/loss_ce"]["29"] == 1 / 30
    said = ended.output + str(server.state())
    said += "".join(path.read_text("utf-8", "replace") for path in tmp_path.rglob("run/**/*") if path.is_file())
    assert API_KEY not in said and token not in said


def test_a_resumed_run_keeps_its_id_and_a_new_one_gets_another(tmp_path: Path, trainee: Callable[..., Any]) -> None:
    first = trainee(tmp_path, 3, "success", NOBODY, OFFLINE).wait().info
    again = trainee(tmp_path, 3, "resume", NOBODY, OFFLINE).wait().info
    other = trainee(tmp_path, 3, "success", NOBODY, OFFLINE).wait().info
    assert first["id"] == again["id"] != other["id"]
    assert len({first["logdir"], again["logdir"], other["logdir"]}) == 3


def test_sigkill_keeps_what_was_logged(tmp_path: Path, trainee: Callable[..., Any], serve: Callable[..., Any]) -> None:
    running = trainee(tmp_path, STEPS, "hang", NOBODY, OFFLINE)
    running.wait_for(lambda: steps_on_disk(tmp_path) == set(range(STEPS)))
    os.kill(running.process.pid, signal.SIGKILL)
    ended = running.wait()
    assert ended.code == -signal.SIGKILL and end_on_disk(tmp_path) is None
    assert steps_on_disk(tmp_path) == set(range(STEPS))
    server = serve()
    sync(ended.events["started"], tmp_path, server.url)
    assert server.run()["state"] == "CRASHED" and len(server.run()["scalars"]["train/loss_ce"]) == STEPS


def test_sigterm_ends_the_run_as_aborted_with_every_row(tmp_path: Path, trainee: Callable[..., Any]) -> None:
    running = trainee(tmp_path, STEPS, "hang", NOBODY, OFFLINE)
    running.wait_for(lambda: "logged" in running.events())
    running.process.terminate()
    assert running.wait().code == 128 + signal.SIGTERM
    assert steps_on_disk(tmp_path) == set(range(STEPS)) and end_on_disk(tmp_path) == "ABORTED"


def test_an_error_that_nobody_catches_is_recorded_and_its_exit_code_stays(
    tmp_path: Path, trainee: Callable[..., Any]
) -> None:
    ended = trainee(tmp_path, STEPS, "raise", NOBODY, OFFLINE).wait()
    assert ended.code == 1 and "RuntimeError: the training broke" in ended.output
    assert steps_on_disk(tmp_path) == set(range(STEPS)) and end_on_disk(tmp_path) == "CRASHED"


# Faults of the server, and the status at the end. None: nobody listens.
FAULTS: dict[str, tuple[tuple[str, ...] | None, str]] = {
    "refused": (None, "planned"),
    "silent server": (("silence:/api", "silence:/"), "planned"),
    "login is never answered": (("silence:/api/login",), "planned"),
    "login answers 500": (("500:/api/login",), "planned"),
    "no permission": (("403:/api/project",), "planned"),
    "numbers answer 400": (("400:/api/house/metrics",), "online"),
    "numbers answer 500": (("500:/api/house/metrics",), "online"),
    "numbers are never answered": (("silence:/api/house/metrics",), "online"),
    "the end answers 500": (("500:/api/project/tester/ExplicitLM/runs",), "online"),
}


@pytest.fixture(scope="module")
def storm(
    tmp_path_factory: pytest.TempPathFactory, trainee: Callable[..., Any], serve: Callable[..., Any]
) -> dict[str, Any]:
    """One trainee for each fault, all at once: most of their time is waiting for bounds."""
    folder = tmp_path_factory.mktemp("storm")
    running = {}
    for name, (faults, _) in FAULTS.items():
        host = NOBODY if faults is None else serve(*faults).url
        running[name] = trainee(folder / name.replace(" ", "_"), STEPS, "aborted", host)
    return {name: one.wait() for name, one in running.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_of_the_server_reaches_the_training(storm: dict[str, Any], name: str) -> None:
    ended = storm[name]
    assert ended.code == 7 and "Traceback" not in ended.output
    assert ended.info["status"] == FAULTS[name][1]
    assert not ended.info["rng_moved"], "the digest chain would tell a tracked run from an untracked one"
    assert ended.events["started"]["seconds"] < START_SECONDS + 10  # 10 s: nine processes on two cores
    assert ended.events["logged"]["seconds"] < 1
    assert ended.info["seconds"] < FINISH_SECONDS["aborted"] + 5
    assert API_KEY not in ended.output
    if name != "login is never answered":  # there it ended before the SDK gave up its first try
        assert steps_on_disk(ended.folder) == set(range(STEPS)) and end_on_disk(ended.folder) == "ABORTED"
    assert "swanlab sync" in ended.output


@pytest.mark.slow
def test_a_server_killed_mid_run_delays_the_end_by_a_bounded_time_only(
    tmp_path: Path, trainee: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    server = serve()
    running = trainee(tmp_path, STEPS, "hang", server.url)
    running.wait_for(lambda: "logged" in running.events() and server.state()["runs"] != {})
    server.kill()
    running.process.terminate()
    ended = running.wait()
    assert ended.code == 128 + signal.SIGTERM and "Traceback" not in ended.output
    assert steps_on_disk(tmp_path) == set(range(STEPS)) and end_on_disk(tmp_path) == "ABORTED"
    later = serve()
    sync(ended.events["started"], tmp_path, later.url)
    assert later.run()["state"] == "ABORTED" and len(later.run()["scalars"]["train/loss_ce"]) == STEPS


def test_without_a_key_nobody_is_asked(tmp_path: Path, trainee: Callable[..., Any]) -> None:
    ended = trainee(tmp_path, STEPS, "success", NOBODY, key="").wait()
    assert ended.code == 7 and ended.info["status"] == "planned"
    assert "offline, because: no API key" in ended.output
