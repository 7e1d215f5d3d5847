"""Stopped anywhere and resumed, a run ends with the bytes of the undisturbed one."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from explicitlm.errors import UsageError
from explicitlm.training.stop import Interrupted


def csv_without_speed(path: Path) -> list[list[str]]:
    return [line.split(",")[:-1] for line in path.read_text().splitlines()]


def assert_same_run(folder: Path, first: str, second: str, hashes: Any) -> None:
    assert hashes(folder / "out" / first) == hashes(folder / "out" / second)
    for name in ("metrics.json", "digests.csv", "val.csv"):
        assert (folder / "metrics" / first / name).read_text() == (folder / "metrics" / second / name).read_text()
    assert csv_without_speed(folder / "metrics" / first / "train.csv") == csv_without_speed(
        folder / "metrics" / second / "train.csv"
    )


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"dropout": 0.1, "accumulation_steps": 5}, {"mixed_precision": "bf16"}])
def test_stopped_at_every_kind_of_moment(
    in_process: Any, stop_after: Any, hashes: Any, changes: dict[str, Any]
) -> None:
    in_process.train("whole", **changes)
    for moment in (0, 1, 4, 9, 10, 17):
        name = f"cut-{moment}"
        with pytest.raises(Interrupted):
            in_process.train(name, stop=stop_after(moment), **changes)
        assert not (in_process.folder / "out" / name).exists()
        assert not (in_process.folder / "metrics" / name / "metrics.json").exists()
        in_process.train(name, resume=True, **changes)
        assert_same_run(in_process.folder, "whole", name, hashes)


@pytest.mark.slow
def test_stopped_again_and_again_and_without_its_metrics_files(in_process: Any, stop_after: Any, hashes: Any) -> None:
    in_process.train("whole")
    resume = False
    for _ in range(20):
        try:
            in_process.train("cut", resume=resume, stop=stop_after(7))
        except Interrupted:
            shutil.rmtree(in_process.folder / "metrics/cut")  # DVC deletes outs before a run
            resume = True
        else:
            break
    assert_same_run(in_process.folder, "whole", "cut", hashes)


def test_damaged_newest_state_is_skipped_and_only_two_are_kept(in_process: Any, hashes: Any, capsys: Any) -> None:
    in_process.train("whole")
    states = in_process.folder / "runs/whole/states"
    names = sorted(path.name for path in states.iterdir())
    assert len(names) == 2
    weights = states / names[-1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    before = hashes(in_process.folder / "out/whole")
    in_process.train("whole", resume=True)
    assert f"{names[-1]} is damaged" in capsys.readouterr().out
    assert hashes(in_process.folder / "out/whole") == before


def test_states_of_other_runs_are_refused(in_process: Any, stop_after: Any) -> None:
    with pytest.raises(UsageError, match="no state to resume"):
        in_process.train("run", resume=True)
    with pytest.raises(Interrupted):
        in_process.train("run", stop=stop_after(3))
    with pytest.raises(UsageError, match=r"learning_rate was 0\.003, is 0\.001"):
        in_process.train("run", resume=True, learning_rate=1e-3)
    with (in_process.folder / "data/database/text.jsonl").open("a") as file:
        file.write('{"text": "Ada moved."}\n')
    with pytest.raises(UsageError, match="the data has changed"):
        in_process.train("run", resume=True)


def test_how_a_run_is_watched_may_change_on_resume(in_process: Any, stop_after: Any, hashes: Any) -> None:
    in_process.train("whole")
    with pytest.raises(Interrupted):
        in_process.train("cut", stop=stop_after(5))
    in_process.train("cut", resume=True, save_interval=1, log_interval=1)
    assert hashes(in_process.folder / "out/whole") == hashes(in_process.folder / "out/cut")


def test_a_new_run_puts_earlier_states_aside(in_process: Any, stop_after: Any, capsys: Any) -> None:
    with pytest.raises(Interrupted):
        in_process.train("run", stop=stop_after(3))
    in_process.train("run")
    assert "earlier states are now in" in capsys.readouterr().out
    assert (in_process.folder / "runs/run/states.old").is_dir()


KILLS = 3  # in the suite; `pytest -k sigkill --kills 20` for the twenty


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_sigkill_at_a_random_moment(processes: Any, hashes: Any, seed: int) -> None:
    places = ("--out_dir", "out/whole", "--metrics_dir", "metrics/whole")
    began = time.monotonic()
    processes.run(*places, epochs=6)
    duration = time.monotonic() - began
    processes.environment["EXPLICITLM_RUN_DIR"] = "runs/cut"
    places = ("--out_dir", "out/cut", "--metrics_dir", "metrics/cut")
    process = processes.start(*places, epochs=6)
    try:
        # any moment must do: start-up, data, training, saving, the end
        process.communicate(timeout=random.Random(seed).uniform(0.3, 1.0) * duration)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    resume = ["--resume"] if list((processes.folder / "runs/cut").glob("states/step-*")) else []
    processes.run(*places, *resume, epochs=6)
    assert_same_run(processes.folder, "whole", "cut", hashes)
    assert json.loads((processes.folder / "runs/cut/status.json").read_text())["status"] == "done"
