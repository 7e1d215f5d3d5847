"""Stopped anywhere and resumed, a run ends with the bytes of the undisturbed one."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.training import checkpoint
from explicitlm.lm.training.asking import generate
from explicitlm.lm.training.checkpoint import weight_settings
from explicitlm.lm.training.signals import Interrupted
from explicitlm.lm.training.state import Identity


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
@pytest.mark.parametrize("changes", [{"accumulation_steps": 5}, {"dropout": 0.1}, {"mixed_precision": "bf16"}])
def test_stopped_at_every_kind_of_moment(small: Any, stop_after: Any, hashes: Any, changes: dict[str, Any]) -> None:
    """Before the first micro-batch, within a window, at its end, within an evaluation, before the last one."""
    small.train("whole", **changes)
    whole = json.loads((small.folder / "metrics/whole/metrics.json").read_text())
    seen = set()
    for moment in (0, 1, 4, 9, 10, 11, 13, 19):
        name = f"cut-{moment}"
        with pytest.raises(Interrupted):
            small.train(name, stop=stop_after(moment), **changes)
        assert not (small.folder / "out" / name).exists()
        _is_live(small.folder / "metrics" / name, whole["steps"])
        seen.add(sorted(path.name for path in (small.folder / "runs" / name / "states").iterdir())[-1])
        small.train(name, resume=True, **changes)
        assert_same_run(small.folder, "whole", name, hashes)
    assert len({name[-6:] for name in seen}) > 1  # some within a window


@pytest.mark.slow
def test_stopped_again_and_again_and_without_its_metrics_files(small: Any, stop_after: Any, hashes: Any) -> None:
    small.train("whole")
    resume = False
    for _ in range(20):
        try:
            small.train("cut", resume=resume, stop=stop_after(6))
        except Interrupted:
            shutil.rmtree(small.folder / "metrics/cut")  # DVC deletes outs before a run
            resume = True
        else:
            break
    assert_same_run(small.folder, "whole", "cut", hashes)


def test_damaged_newest_state_is_skipped_and_only_two_are_kept(small: Any, hashes: Any, capsys: Any) -> None:
    small.train("whole")
    states = small.folder / "runs/whole/states"
    names = sorted(path.name for path in states.iterdir())
    assert len(names) == 2
    weights = states / names[-1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    before = hashes(small.folder / "out/whole")
    small.train("whole", resume=True)
    assert f"{names[-1]} is damaged" in capsys.readouterr().out
    assert hashes(small.folder / "out/whole") == before


def test_states_of_other_runs_are_refused(small: Any, stop_after: Any) -> None:
    with pytest.raises(UsageError, match="no state to resume"):
        small.train("run", resume=True)
    with pytest.raises(Interrupted):
        small.train("run", stop=stop_after(3))
    with pytest.raises(UsageError, match=r"learning_rate was 0\.003, is 0\.001"):
        small.train("run", resume=True, learning_rate=1e-3)
    with (small.folder / "data/database/text.jsonl").open("a") as file:
        file.write('{"text": "Ada moved."}\n')
    with pytest.raises(UsageError, match="the data has changed"):
        small.train("run", resume=True)


def test_a_state_without_a_younger_hyperparameter_is_one_with_its_default() -> None:
    settings = weight_settings(TrainConfig(epochs=7))
    older = {name: value for name, value in settings.items() if name != "attend_across_documents"}
    saved = {"settings": older, "data": "d", "world_size": 1}
    assert Identity(settings, "d", 1).differences(saved) == []
    other = {**settings, "attend_across_documents": False}
    assert Identity(other, "d", 1).differences(saved) == ["attend_across_documents was True, is False"]


def test_documents_apart_to_the_bit_after_a_stop(small: Any, stop_after: Any, hashes: Any) -> None:
    """What attention sees follows from the tokens alone: a resumed run needs no memory of it."""
    apart = {"epochs": 1, "attend_across_documents": False}
    small.train("across", epochs=1)
    small.train("whole", **apart)
    with pytest.raises(Interrupted):
        small.train("cut", stop=stop_after(5), **apart)
    small.train("cut", resume=True, **apart)
    assert_same_run(small.folder, "whole", "cut", hashes)
    losses = [
        json.loads((small.folder / f"metrics/{n}/metrics.json").read_text())["val_loss"] for n in ("across", "cut")
    ]
    assert losses[0] != losses[1]
    loaded = checkpoint.load("out/cut")
    assert not loaded.config.attend_across_documents
    assert generate(loaded, "Ada lives in", 8) == generate(loaded, "Ada lives in", 8)


def test_how_a_run_is_watched_may_change_on_resume(small: Any, stop_after: Any, hashes: Any) -> None:
    small.train("whole")
    with pytest.raises(Interrupted):
        small.train("cut", stop=stop_after(5))
    small.train("cut", resume=True, save_interval=1, log_interval=1)
    assert hashes(small.folder / "out/whole") == hashes(small.folder / "out/cut")


def test_a_new_run_puts_earlier_states_aside(small: Any, stop_after: Any, capsys: Any) -> None:
    with pytest.raises(Interrupted):
        small.train("run", stop=stop_after(3))
    small.train("run")
    assert "earlier states are now in" in capsys.readouterr().out
    assert (small.folder / "runs/run/states.old").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_sigkill_at_random_moments(processes: Any, hashes: Any) -> None:
    """From start-up to the last save. EXPLICITLM_KILLS=20 tries twenty; 2 in the suite."""
    processes.run("--out_dir", "out/whole", "--metrics_dir", "metrics/whole", epochs=5)
    rows = len((processes.folder / "metrics/whole/train.csv").read_text().splitlines())
    for seed in range(int(os.environ.get("EXPLICITLM_KILLS", "2"))):
        name, draw = f"cut-{seed}", random.Random(seed)
        processes.environment["EXPLICITLM_RUN_DIR"] = f"runs/{name}"
        paths = ("--out_dir", f"out/{name}", "--metrics_dir", f"metrics/{name}")
        process = processes.start(*paths, epochs=5)
        wait_for_rows(processes.folder / "metrics" / name / "train.csv", draw.randint(1, rows), process)
        time.sleep(draw.uniform(0, 0.1))  # any moment will do: within a step, a save, an evaluation
        process.send_signal(signal.SIGKILL)
        process.communicate()
        states = sorted(path.name for path in (processes.folder / f"runs/{name}").glob("states/step-*"))
        print(f"kill {seed}: exit {process.returncode}, states {states}")
        processes.run(*paths, *(["--resume"] if states else []), epochs=5)
        assert_same_run(processes.folder, "whole", name, hashes)


def wait_for_rows(path: Path, rows: int, process: subprocess.Popen[str]) -> None:
    """Returns when a metrics file has so many lines, or the process has ended."""
    while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= rows):
        time.sleep(0.01)


def _is_live(folder: Path, steps: int) -> None:
    """metrics.json of an unfinished run: the numbers of its last evaluation; none before the first."""
    rows = list(csv.DictReader((folder / "val.csv").open())) if (folder / "val.csv").exists() else []
    assert (folder / "metrics.json").exists() == bool(rows)
    if rows:
        live = json.loads((folder / "metrics.json").read_text())
        assert live["steps"] == int(rows[-1]["step"]) < steps
        assert live["val_loss"] == float(rows[-1]["val/loss"])
