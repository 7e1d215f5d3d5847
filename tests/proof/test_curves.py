"""Numbers of two runs: how near they are, and which are measured otherwise."""

from __future__ import annotations

import math

import pytest

from explicitlm.common import layout
from explicitlm.common.errors import DataError
from explicitlm.proof import curves

WAS = {(1, "loss"): 5.123412, (2, "loss"): 4.0, (2, "acc"): 0.0}


@pytest.mark.parametrize(
    ("now", "grade"),
    [
        (WAS | {(1, "loss"): 5.123449}, "same_curve"),
        (WAS | {(1, "loss"): 5.1235, (2, "acc"): 0.009}, "within_tolerance"),
        (WAS | {(2, "loss"): 4.05}, "different"),
        (WAS | {(2, "acc"): 0.02}, "different"),
        ({(3, "loss"): 1.0}, "different"),
    ],
)
def test_the_grade_is_that_of_the_farthest_number(now: curves.Numbers, grade: str) -> None:
    assert curves.grade(WAS, now) == grade


def test_what_equal_weights_measure_otherwise_is_named_in_order() -> None:
    none = {(1, "rate"): math.nan}
    assert curves.differing(WAS | none, WAS | none) == []
    now = WAS | {(2, "acc"): 0.5, (1, "loss"): 5.1234120001, (2, "loss"): 4.001, (3, "loss"): 1.0}
    assert curves.differing(WAS, now) == [(2, "acc"), (2, "loss")]


def test_curves_are_read_without_speeds_and_a_damaged_one_is_said(tmp_path) -> None:
    assert curves.read(tmp_path) == {}
    folder = tmp_path / layout.RUN
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("step,loss,tokens_per_sec\n1,2.5,900\n2,,901\n")
    (folder / "val.csv").write_text("step,val/loss\n2,2.25\n")
    assert curves.read(tmp_path) == {(1, "loss"): 2.5, (2, "val/loss"): 2.25}
    for damaged in ("step,loss\n1,x\n", "step,loss\nx,1\n"):
        (folder / "val.csv").write_text(damaged)
        with pytest.raises(DataError, match="a curve under experiments/run is damaged"):
            curves.read(tmp_path)
