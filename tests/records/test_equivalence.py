"""Versions of lm/ that train alike: notes are chained, and what is no note is left out."""

from __future__ import annotations

import json

import made_records
import pytest

from explicitlm.common import layout
from explicitlm.comparison import seeds
from explicitlm.records import equivalence, rows

A, B, C, D = (f"{letter * 32}.dir" for letter in "abcd")


def test_a_chain_of_refactorings_is_one_class(tmp_path) -> None:
    equivalence.note(tmp_path, C, B, 30)
    equivalence.note(tmp_path, A, C, 30)
    assert equivalence.classes(tmp_path) == ({A: A, B: A, C: A}, [])
    equivalence.note(tmp_path, C, B, 99)
    assert len(list((tmp_path / layout.EQUIVALENT).iterdir())) == 2


def test_of_a_chain_the_shortest_training_counts_and_of_chains_the_best(tmp_path) -> None:
    equivalence.note(tmp_path, A, B, 30)
    equivalence.note(tmp_path, C, B, 5)
    assert [equivalence.shown_steps(tmp_path, *pair) for pair in ((A, B), (C, A), (A, D))] == [30, 5, None]
    equivalence.note(tmp_path, C, D, 20)
    equivalence.note(tmp_path, D, A, 10)
    assert equivalence.shown_steps(tmp_path, A, C) == 10


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "[" * 100_000, json.dumps({"schema_version": 1, "lm": [A]}),
     json.dumps({"schema_version": 1, "lm": [A, "../../x"]}), json.dumps({"schema_version": 1, "lm": [A, 7]}),
     json.dumps({"schema_version": 2, "lm": [A, B], "steps": 30}),
     json.dumps({"schema_version": 1, "lm": [A, B]}), json.dumps({"schema_version": 1, "lm": [A, B], "steps": "30"})],
)  # fmt: skip
def test_what_is_no_note_is_one_line(tmp_path, content: str) -> None:
    equivalence.note(tmp_path, A, B, 30)
    (tmp_path / layout.EQUIVALENT / "x.json").write_text(content)
    like, problems = equivalence.classes(tmp_path)
    assert like == {A: A, B: A} and len(problems) == 1
    assert str(problems[0]).startswith("experiments/equivalent/x.json is left out: ") and len(str(problems[0])) < 200


def test_experiments_before_and_after_a_refactoring_are_one_group(tmp_path) -> None:
    for number, lm in enumerate((A, B, D), start=1):
        made_records.write(tmp_path, made_records.made(f"exp_{number}", {"seed": number}, {"val_loss": 2.0}, lm=lm))
    assert [group.name for group in seeds.groups(rows.load(tmp_path).rows)] == ["exp_1", "exp_2", "exp_3"]
    equivalence.note(tmp_path, A, B, 30)
    found = rows.load(tmp_path)
    assert [sorted(group.by_seed) for group in seeds.groups(found.rows)] == [[1, 2], [3]]
    assert found.rows[0].code["lm"] == A and found.rows[1].code["lm"] == B  # the table still tells them apart
