"""One gradient however a batch is split, and one result however often it is asked for."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from explicitlm.lm.training.digest import digest_tensors


def losses(path: Path) -> list[list[float]]:
    with path.open() as file:
        return [[float(row[key]) for key in row if key != "train/tokens_per_sec"] for row in csv.DictReader(file)]


def assert_close_runs(folder: Path, first: str, second: str) -> None:
    np.testing.assert_allclose(
        losses(folder / "metrics" / first / "train.csv"), losses(folder / "metrics" / second / "train.csv"), rtol=2e-5
    )
    ours, theirs = (load_file(folder / "out" / name / "model.safetensors") for name in (first, second))
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4, err_msg=name)


def test_accumulation_equals_a_bigger_batch_down_to_the_last_short_window(small: Any) -> None:
    """37 sequences in windows of 8: the last window is short, and the last sequence is partly padding.

    In the paper's form: it reads several rows at once, where the default's one row may be another after rounding.
    """
    for batch_size in (8, 4, 1):
        small.train(
            f"b{batch_size}", router="paper", epochs=1, batch_size=batch_size, accumulation_steps=8 // batch_size
        )
    assert_close_runs(small.folder, "b8", "b4")
    assert_close_runs(small.folder, "b8", "b1")


def test_a_step_that_reads_aloud_has_one_gradient_however_it_is_split(small: Any) -> None:
    """One step of 37 sequences and 19 read aloud, whose rows say other objects than the bank."""
    for parts in (1, 3, 8):
        small.train(f"b{parts}", epochs=1, batch_size=-(-40 // parts), accumulation_steps=parts, aloud_share=0.5)
    assert_close_runs(small.folder, "b1", "b3")
    assert_close_runs(small.folder, "b1", "b8")


@pytest.mark.slow
@pytest.mark.parametrize("router", ["content", "paper"])
def test_two_processes_repeat_and_their_banks_agree(processes: Any, hashes: Any, router: str) -> None:
    """The digest chain compares the weights and banks of both processes at each of its links, or stops the run."""
    two = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    where = {n: ["--out_dir", f"out/{n}", "--metrics_dir", f"metrics/{n}"] for n in ("one", "two", "again")}
    common = {"router": router, "epochs": 1, "digest_interval": 1, "use_ema_update": True, "ema_update_freq": 1}
    size = {"content": 64, "paper": 2}[router]  # the default: one step, after which rounding may choose another row
    for name in ("two", "again"):
        processes.run(*where[name], launcher=two, batch_size=size, **common)
    assert hashes(processes.folder / "out/two") == hashes(processes.folder / "out/again")
    processes.run(*where["one"], batch_size=2 * size, **common)
    assert_close_runs(processes.folder, "one", "two")


@pytest.mark.slow
def test_two_processes_resume_to_the_bit_when_one_is_told_to_stop(processes: Any, hashes: Any) -> None:
    two = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    common = {"epochs": 8, "batch_size": 2, "launcher": two, "dropout": 0.1}
    processes.run("--out_dir", "out/whole", "--metrics_dir", "metrics/whole", **common)
    processes.environment["EXPLICITLM_RUN_DIR"] = "runs/cut"
    words = ("--out_dir", "out/cut", "--metrics_dir", "metrics/cut")
    process = processes.start(*words, **common)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 6/"):
            status = json.loads((processes.folder / "runs/cut/status.json").read_text())
            processes.tell(status["pid"])
            break
    process.communicate()
    assert json.loads((processes.folder / "runs/cut/status.json").read_text())["exit_code"] == 143
    processes.run(*words, "--resume", **common)
    assert hashes(processes.folder / "out/whole") == hashes(processes.folder / "out/cut")


@pytest.mark.slow
def test_runs_repeat_to_the_bit_in_other_processes(processes: Any, hashes: Any) -> None:
    """Another hash seed, an empty token cache, other file times: the same weights, metrics and digests."""
    processes.run("--out_dir", "a", "--metrics_dir", "ma", "--items_path", "ma/items", epochs=1, hash_seed="1")
    for path in (processes.folder / "data").rglob("*.json*"):
        path.touch()
    processes.folder.joinpath(".explicitlm").rename(processes.folder / "elsewhere")
    processes.run("--out_dir", "b", "--metrics_dir", "mb", "--items_path", "mb/items", epochs=1, hash_seed="2")
    assert hashes(processes.folder / "a") == hashes(processes.folder / "b")
    for name in ("metrics.json", "digests.csv", "val.csv", "items"):
        assert (processes.folder / "ma" / name).read_bytes() == (processes.folder / "mb" / name).read_bytes()


def test_it_learns(in_process: Any) -> None:
    in_process.train("run", epochs=4, eval_interval=5)
    with (in_process.folder / "metrics/run/val.csv").open() as file:
        values = [float(row["val/loss"]) for row in csv.DictReader(file)]
    assert values[-1] < 0.6 * values[0]


def test_the_dense_baseline_trains_without_memory(small: Any) -> None:
    small.train("dense", epochs=1, disable_memory=True)
    values = json.loads((small.folder / "metrics/dense/metrics.json").read_text())
    assert "memory_hit_rate" not in values and values["val_loss"] < 6
    assert "bank.entries_NL" not in load_file(small.folder / "out/dense/model.safetensors")


def test_digest_sees_every_bit_name_and_shape() -> None:
    base = {"a": torch.arange(6.0), "b": torch.ones(2, dtype=torch.int16)}
    seen = {digest_tensors(base)}
    changed = torch.arange(6.0)
    changed[5] = torch.nextafter(changed[5], torch.tensor(9.0))
    for other in ({**base, "a": changed}, {**base, "a": base["a"].view(2, 3)}, {"a": base["a"], "c": base["b"]}):
        seen.add(digest_tensors(other))
    assert len(seen) == 4
    assert digest_tensors(dict(reversed(base.items()))) in seen


def test_divergence_ends_the_run_with_advice(small: Any) -> None:
    from explicitlm.common.errors import TrainingError

    with pytest.raises(TrainingError, match="diverged"):
        small.train("run", epochs=4, learning_rate=1e30, warmup_ratio=0.0, grad_clip=1e30, log_interval=1)
    assert not (small.folder / "out/run").exists()
