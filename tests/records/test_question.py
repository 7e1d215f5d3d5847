"""A question before the training, an answer after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_records
import pytest
from msgspec.structs import replace

from explicitlm.common.errors import UsageError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import convert
from explicitlm.records import question, store
from explicitlm.records.manifest import Question
from explicitlm.records.schema import Record


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made_records.write(
        tmp_path,
        made_records.made("base", metrics={"val_loss": 2.5, "acc": 0.5}),
        made_records.made("broke", status="failed"),
    )
    return tmp_path


@pytest.mark.parametrize(
    ("against", "expect", "cause"),
    [
        ("nobody", "", "nobody has no record"),
        ("", "val_loss < 0", "says nothing without a baseline"),
        ("broke", "val_loss < 0", "broke .failed. has no metrics"),
        ("base", "vall_loss < 0", "no experiment has 'vall_loss'"),
        ("base", "open('x')", "may not stand in an expression"),
    ],
)
def test_a_question_that_cannot_be_asked(root: Path, against: str, expect: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        question.check(root, against, expect)


def test_no_question(root: Path) -> None:
    assert question.check(root, "", "") is None
    assert question.check(root, "broke", "") is not None


def asked(expect: str) -> Question:
    return Question(against="base", expect=expect, baseline={"val_loss": 2.5, "acc": 0.5}, changes=[])


@pytest.mark.parametrize(
    ("expect", "metrics", "verdict"),
    [
        ("val_loss < -0.05", {"val_loss": 2.4}, "held"),
        ("val_loss < -0.05", {"val_loss": 2.46}, "not_held"),
        ("val_loss < -0.05 and acc > 0", {"val_loss": 2.4}, "open"),
        ("val_loss < -0.05", {"val_loss": None}, "open"),
        ("val_loss < -0.05", {}, "open"),
        ("", {"val_loss": 2.4}, "open"),
    ],
)
def test_outcomes(expect: str, metrics: dict[str, Any], verdict: str) -> None:
    outcome = question.answered(asked(expect), metrics)
    assert outcome.verdict == verdict
    assert set(outcome.differences) == {name for name, value in metrics.items() if value is not None}


def test_words() -> None:
    outcome = question.answered(asked("val_loss < -0.05"), {"val_loss": 2.25, "acc": 0.75})
    assert question.describe(outcome) == "expected val_loss < -0.05 against base: held; val_loss 2.5 -> 2.25 (-0.25)"


def test_changes_are_told(root: Path) -> None:
    baseline = store.load(root, "base")
    same = {name: details.md5 if details else None for name, details in baseline.data.items()}
    config = TrainConfig()
    assert question.changes(baseline, config, same, [])[:0] == []
    lines = question.changes(
        baseline, replace(config, learning_rate=1e-3, log_interval=3),
        same | {"database": "9" * 32, "cache": "8" * 32}, ["src/a.py", "src/b.py", "src/c.py", "src/d.py"],
    )  # fmt: skip
    assert lines[:4] == [
        "learning_rate: 0.0002 -> 0.001",
        "data/database: dddddddd -> 99999999",
        "data/cache: none -> 88888888",
        "code: src/a.py, src/b.py, src/c.py and 1 more",
    ]
    assert "git lacks" in question.changes(baseline, config, same, None)[0]


def test_a_conclusion_outlives_a_record_that_is_written_anew(root: Path) -> None:
    first = store.load(root, "base")
    store.save(root, replace(first, conclusion="it works"))
    store.save(root, first)
    assert store.load(root, "base").conclusion == "it works"


def test_records_of_before_still_load() -> None:
    record = convert(made_records.made("old"), Record)
    assert record.outcome is None and record.conclusion is None
