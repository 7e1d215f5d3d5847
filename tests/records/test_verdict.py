"""Verdicts beside records: the strongest check counts, and whatever lies among them stops nobody."""

from __future__ import annotations

import json
import os

import pytest

from explicitlm.common import layout
from explicitlm.lm.typed import dump
from explicitlm.records.verdict import Difference, Verdict, load_verdicts, save_verdict


def judged(experiment: str = "exp_001", how="retrained", grade="identical", at: int = 1, **more) -> Verdict:
    return Verdict(experiment=experiment, checked_at=f"2026-01-0{at}T00:00:00Z", duration_s=1, how=how, verdict=grade,
                   **more)  # fmt: skip


def test_the_strongest_check_counts_then_the_newest(tmp_path) -> None:
    for verdict in (judged(at=1), judged(grade="different", at=2), judged(how="restored", at=3)):
        save_verdict(tmp_path, verdict)
    assert load_verdicts(tmp_path).by_experiment["exp_001"].verdict == "different"
    assert len(list((tmp_path / layout.verdicts("exp_001")).iterdir())) == 3


def test_the_summary_names_what_was_otherwise(tmp_path) -> None:
    torch = Difference(cause="packages", what="torch", was="2.13.0", now="2.14.0")
    save_verdict(tmp_path, judged("exp_001"))
    for name in ("exp_002", "exp_003"):
        save_verdict(tmp_path, judged(name, grade="different", differences=[torch]))
    save_verdict(tmp_path, judged("exp_004", how="head"))
    assert load_verdicts(tmp_path).summary() == "1 of 3 identical, 2 differ: torch 2.13.0 -> 2.14.0"


WHOLE = dump(judged())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(WHOLE | {"schema_version": 2}).encode(),
        json.dumps(WHOLE | {"verdict": "\x1b[31mfine"}).encode(),
        json.dumps(WHOLE | {"experiment": "exp_002"}).encode(),
        json.dumps(WHOLE | {"first_divergent_step": "<script>"}).encode(),
        json.dumps(WHOLE | {"line\nbreak": "x" * 100_000}).encode(),
    ],
)
def test_a_file_that_is_no_verdict_is_one_line(tmp_path, content: bytes) -> None:
    save_verdict(tmp_path, judged("exp_003"))
    (tmp_path / layout.verdicts("exp_001")).mkdir(parents=True)
    (tmp_path / layout.verdicts("exp_001") / "x.json").write_bytes(content)
    found = load_verdicts(tmp_path)
    assert list(found.by_experiment) == ["exp_003"]
    (problem,) = map(str, found.problems)
    assert problem.startswith("experiments/verdicts/exp_001/x.json is left out: it is ")
    assert len(problem) < 300 and problem.isprintable()


def test_a_link_is_not_followed(tmp_path) -> None:
    (tmp_path / layout.verdicts("exp_001")).mkdir(parents=True)
    (tmp_path / layout.verdicts("exp_001") / "x.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / layout.verdicts("exp_001") / "y.json")
    assert len(load_verdicts(tmp_path).problems) == 2


def test_words_of_a_stranger_steer_no_terminal() -> None:
    hostile = Difference(cause="packages", what="\x1b[2J", was="a\nb", now="x" * 10_000)
    verdict = judged(grade="different", differences=[hostile], parts=["\x1b[31m"], first_divergent_step=3,
                     reason="\x1b]0;owned\x07")  # fmt: skip
    assert all(line.isprintable() and len(line) < 300 for line in verdict.lines())
