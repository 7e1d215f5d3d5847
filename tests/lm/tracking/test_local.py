"""Local metrics: exact bytes, nothing lost to SIGKILL, and resuming as if nothing had happened."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicitlm.lm.tracking.local import MetricsWriter


def log_steps(folder: Path, steps: range, resume_step: int | None = None) -> None:
    with MetricsWriter(folder, resume_step) as writer:
        for step in steps:
            writer.log(step, {"train/loss_ce": 1 / (step + 3), "train/lr": 2e-4})
            if step % 4 == 0:
                writer.log(step, {"val/loss": 2 / (step + 3)})


def test_rows_have_the_step_first_and_numbers_read_back_exactly(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.log(10, {"train/loss_ce": 1 / 3, "train/lr": 1.9e-04, "val/loss": 3})
        writer.log(20, {"train/loss_ce": float("nan"), "train/lr": 1e-7})
    assert (tmp_path / "train.csv").read_text() == (
        "step,train/loss_ce,train/lr\n10,0.3333333333333333,0.00019\n20,nan,1e-07\n"
    )
    assert (tmp_path / "val.csv").read_text() == "step,val/loss\n10,3\n"


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_every_float_survives_the_file(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    folder = tmp_path_factory.mktemp("floats")
    with MetricsWriter(folder) as writer:
        for step, number in enumerate(numbers):
            writer.log(step, {"val/loss": number})
    with (folder / "val.csv").open(newline="") as file:
        assert [repr(float(row["val/loss"])) for row in csv.DictReader(file)] == [repr(n) for n in numbers]


def test_a_row_is_in_the_file_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.log(1, {"train/loss_ce": 2.5})
    assert (tmp_path / "train.csv").read_text() == "step,train/loss_ce\n1,2.5\n"
    writer.close()


def test_a_key_that_comes_later_widens_the_table(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.log(1, {"val/loss": 2.0})
        writer.log(2, {"val/loss": 1.0, "val/hit_rate": 0.5})
        writer.log(3, {"val/hit_rate": 0.6})
    assert (tmp_path / "val.csv").read_text() == "step,val/loss,val/hit_rate\n1,2.0,\n2,1.0,0.5\n3,,0.6\n"


def test_a_key_without_a_known_prefix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'loss' must be train"):
        MetricsWriter(tmp_path).log(1, {"loss": 1.0})


def test_a_new_run_starts_empty(tmp_path: Path) -> None:
    log_steps(tmp_path, range(5))
    (tmp_path / "metrics.json").write_text("{}")
    MetricsWriter(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_resuming_drops_later_rows_and_ends_in_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    log_steps(tmp_path / "whole", range(20))
    log_steps(tmp_path / "cut", range(13))
    with (tmp_path / "cut" / "train.csv").open("a") as file:
        file.write("13,0.06")  # the write that a crash cut
    (tmp_path / "cut" / "metrics.json").write_text("{}")
    log_steps(tmp_path / "cut", range(10, 20), resume_step=9)
    for name in ("train.csv", "val.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / "metrics.json").exists()


def test_resuming_with_a_file_cut_in_its_header(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("step,tra")
    log_steps(tmp_path, range(2), resume_step=0)
    assert (tmp_path / "train.csv").read_text().startswith("step,train/loss_ce,train/lr\n0,")


def test_summary_is_plain_json_in_the_order_given(tmp_path: Path) -> None:
    MetricsWriter(tmp_path).summary({"val_loss": 1.5, "steps": 30, "train_loss_ce": float("inf")})
    assert (tmp_path / "metrics.json").read_text() == (
        '{\n  "val_loss": 1.5,\n  "steps": 30,\n  "train_loss_ce": null\n}\n'
    )
    assert json.loads((tmp_path / "metrics.json").read_text())["val_loss"] == 1.5
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_sigkill_loses_no_logged_row(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from explicitlm.lm.tracking.local import MetricsWriter\n"
        "writer = MetricsWriter(Path(sys.argv[1]))\n"
        "for step in range(10**9):\n"
        "    writer.log(step, {'train/loss_ce': 0.5}); print(step, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if int(line) == 50:
            os.kill(process.pid, signal.SIGKILL)
            break
    logged = [50, *(int(line) for line in process.stdout.read().splitlines())]
    process.wait()
    rows = (tmp_path / "train.csv").read_text().splitlines()[1:]
    assert len(rows) >= logged[-1] + 1
    assert [row.split(",")[0] for row in rows[: logged[-1] + 1]] == [str(n) for n in range(logged[-1] + 1)]
