"""Tables of what differs, and two experiments in words."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import made_records
import pytest
from made_records import made

from explicitlm.common.errors import UsageError
from explicitlm.comparison import index, pair, seeds, sources, table
from explicitlm.records import equivalence, rows
from explicitlm.records.expressions import Expression
from explicitlm.records.rows import Row
from explicitlm.records.verdict import Verdict, save_verdict


def row(experiment: str, **more: Any) -> Row:
    return Row(rows.parse(json.dumps(made(experiment, **more)).encode(), experiment))


@pytest.fixture
def some() -> list[Row]:
    return [
        row("exp_a", params={"learning_rate": 1e-3, "log_interval": 5}, metrics={"val_loss": 2.5, "steps": 9}),
        row("exp_b", params={"learning_rate": 2e-3, "seed": 2}, metrics={"val_loss": 2.25, "steps": 9}),
        row("exp_c", params={"learning_rate": 2e-3}, status="failed", description="学习率=2e-3"),
    ]


def test_columns_are_what_differs_then_results(some: list[Row]) -> None:
    found = table.make(some, sort="val_loss")
    assert found.columns == ["id", "status", "learning_rate", "seed", "val_loss"]
    assert [line[0] for line in found.rows] == ["exp_b", "exp_a", "exp_c"]
    assert [line[0] for line in table.make(some, sort="-val_loss").rows] == ["exp_a", "exp_b", "exp_c"]
    assert "\n".join(line.rstrip() for line in found.as_text(100).splitlines()) == (
        "id     status    learning_rate  seed  val_loss\n"
        "exp_b  finished          0.002     2      2.25\n"
        "exp_a  finished          0.001  1337       2.5\n"
        "exp_c  failed            0.002  1337         -"
    )


def test_an_older_record_has_the_defaults_of_parameters_that_it_does_not_name() -> None:
    """It is in the group of a newer one, and nothing is told to differ; another value is."""
    record = made("exp_old", params={"seed": 2})
    del record["hyperparameters"]["attend_across_documents"]
    older, newer = Row(rows.parse(json.dumps(record).encode(), "exp_old")), row("exp_new")
    other = row("exp_apart", params={"attend_across_documents": False})
    assert seeds.group_key(older) == seeds.group_key(newer) != seeds.group_key(other)
    assert table.make([older, newer]).columns == ["id", "seed"]
    found = [pair.compare(older, each, lambda _: None, lambda *_: None).parameters for each in (newer, other)]
    assert found[0] == {"seed": (2, 1337)}
    assert found[1] == {"seed": (2, 1337), "attend_across_documents": (True, False)}


def test_a_narrow_terminal_names_what_it_does_not_show(some: list[Row]) -> None:
    text = table.make(some).as_text(40)
    assert max(len(line) for line in text.splitlines()[:-1]) <= 40
    assert "(not shown: val_loss; --columns chooses" in text


def test_other_forms(some: list[Row]) -> None:
    found = table.make(some, ["id", "description", "val_loss"])
    assert next(iter(csv.DictReader(io.StringIO(found.as_csv())))) == {
        "id": "exp_a",
        "description": "",
        "val_loss": "2.5",
    }
    assert found.as_markdown().splitlines()[1] == "| --- | --- | --- |"
    assert found.as_dicts()[2] == {"id": "exp_c", "description": "学习率=2e-3", "val_loss": None}
    with pytest.raises(UsageError, match="no experiment has 'val_lss'"):
        table.make(some, ["val_lss"])


def test_words_of_a_record_steer_neither_terminal_nor_spreadsheet() -> None:
    hostile = [row("exp_h", description='=HYPERLINK("http://x")\x1b[2J|<script>\nid')]
    found = table.make(hostile, ["description"])
    assert "\x1b" not in found.as_text(100) and len(found.as_text(100).splitlines()) == 2
    assert found.as_csv().splitlines()[1].startswith("\"'=HYPERLINK")
    assert "\\|&lt;script>" in found.as_markdown()


def test_two_in_words() -> None:
    before = row("exp_a", params={"learning_rate": 1e-3}, metrics={"val_loss": 2.5, "steps": 9})
    after = row("exp_b", params={"learning_rate": 2e-3}, metrics={"val_loss": 2.25, "steps": 9}, lm="9" * 32,
                data={"database": f"{'1' * 32}.dir", "embeddings": f"{'2' * 32}.dir"})  # fmt: skip
    files = {
        f"{'d' * 32}.dir": {"a.jsonl": "1", "b.jsonl": "2", "c.jsonl": "3"},
        f"{'1' * 32}.dir": {"a.jsonl": "1", "b.jsonl": "9", "d.jsonl": "4"},
    }
    found = pair.compare(before, after, files.get, lambda *_: ["src/explicitlm/lm/x.py | 2 +-"])
    assert "\n".join(found.describe()) == (
        "exp_b against exp_a\n"
        "parameters:\n  learning_rate: 0.001 -> 0.002\n"
        "data database: dddddddd -> 11111111: added d.jsonl; removed c.jsonl; changed b.jsonl\n"
        "data embeddings: (none) -> 22222222 (dvc fetch brings the lists of files)\n"
        "code:\n  src/explicitlm/lm/x.py | 2 +-\n"
        "environment: equal\n"
        "results:\n  val_loss: 2.5 -> 2.25 (-0.25)"
    )


def test_code_that_was_shown_to_train_alike_is_told(tmp_path: Path) -> None:
    A, B, C = (f"{letter * 32}.dir" for letter in "123")
    for name, lm in (("exp_a", A), ("exp_b", B), ("exp_c", C)):
        made_records.write(tmp_path, made(name, lm=lm))
    equivalence.note(tmp_path, B, A, 30)
    first, second, third = rows.load(tmp_path).rows

    def code(other: Row, diff: list[str]) -> str:
        steps = sources.shown_alike(tmp_path, first, other)
        found = pair.compare(first, other, lambda _: None, lambda *_: diff, steps)
        assert found.as_dict()["alike_steps"] == steps
        return next(line for line in found.describe() if line.startswith("code"))

    assert code(second, ["x.py | 2 +-"]) == "code: it differs; lm/ was shown to train alike (explicitlm same, 30 steps)"
    assert code(second, []).endswith("30 steps); git lacks one of the commits (git fetch --tags)")
    assert code(third, ["x.py | 2 +-"]) == "code:" and code(first, []) == "code: equal"


def test_verdicts_are_a_column_and_a_condition_and_named_of_a_pair(tmp_path: Path) -> None:
    made_records.write(tmp_path, made("exp_a"), made("exp_b"))
    found = rows.load(tmp_path).rows
    assert "verdict" not in table.make(found).columns and table.make(found, ["verdict"]).rows == [[None], [None]]
    assert "reproduced" not in "\n".join(pair.compare(found[0], found[1], lambda _: None, lambda *_: []).describe())
    again = Verdict(experiment="exp_b", checked_at="2026-01-01T00:00:00Z", duration_s=1, how="retrained",
                    verdict="same_curve")  # fmt: skip
    save_verdict(tmp_path, again)
    found = rows.load(tmp_path).rows
    made_table = table.make(found)
    assert made_table.as_dicts() == [{"id": "exp_a", "verdict": None}, {"id": "exp_b", "verdict": "same_curve"}]
    assert [
        row.id for row in found if Expression('verdict == "same_curve" and verdict_how == "retrained"')(row.get)
    ] == ["exp_b"]
    told = pair.compare(found[0], found[1], lambda _: None, lambda *_: [])
    assert told.describe()[-1] == "reproduced: exp_b same curve (retrained), exp_a not yet"
    assert told.as_dict()["verdict"] == (None, "same_curve") and told.as_dict()["verdict_how"] == (None, "retrained")


def group(name: str, losses: dict[int, float], **params: object) -> list[Row]:
    return [
        row(f"{name}_{seed}", params={"seed": seed, **params}, metrics={"val_loss": loss, "steps": 9})
        for seed, loss in losses.items()
    ]


def test_groups_are_found_and_paired_by_seed() -> None:
    before = group("a", {1: 2.50, 2: 2.60, 3: 2.55, 4: 2.52})
    after = group("b", {1: 2.30, 2: 2.41, 3: 2.36, 9: 9.0}, learning_rate=1e-3)
    failed = row("b_1_seed4", params={"seed": 4, "learning_rate": 1e-3}, status="failed")
    other = group("other_code", {4: 1.0}, learning_rate=1e-3)
    other[0].code["lm"] = "0" * 32
    everything = [*before, *after, failed, *other]
    assert [sorted(found.by_seed) for found in seeds.groups(everything)] == [[1, 2, 3, 4], [1, 2, 3, 9], [4]]
    found = seeds.compare(everything, "a_1", "b_1", 5)
    assert found.pairs == {1: ("a_1", "b_1"), 2: ("a_2", "b_2"), 3: ("a_3", "b_3")}
    loss = found.metrics["val_loss"]
    assert loss.mean == pytest.approx(-0.19333333)
    assert (loss.pairs, loss.verdict) == (3, "real")
    assert [(item.like, item.seed, item.id) for item in found.missing] == [
        ("b_1", 4, "b_1_seed4_2"),
        ("a_1", 9, "a_1_seed9"),
    ]
    text = "\n".join(seeds.describe(found))
    assert "b_1 - a_1, 3 pairs by seed (1, 2, 3)" in text
    assert "n=3  real" in text and "equal in every pair: steps" in text
    assert "missing: b_1_seed4_2 (as b_1, seed=4)" in text


def test_one_group_is_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="differ in nothing but the seed"):
        seeds.compare(group("a", {1: 2.5, 2: 2.6}), "a_1", "a_2", 5)


def test_too_few_pairs_and_experiments_without_metrics() -> None:
    before, after = group("a", {1: 2.5}), group("b", {2: 2.4}, learning_rate=1e-3)
    found = seeds.compare([*before, *after], "a_1", "b_2", 2)
    assert found.metrics == {} and len(found.missing) == 2
    assert "no pair of finished experiments has a metric in common" in "\n".join(seeds.describe(found))
    failed = row("c", params={"learning_rate": 9e-3}, status="failed")
    assert [item.id for item in seeds.compare([*before, failed], "a_1", "c", 1).missing] == ["c_seed1"]


def test_the_index_tells_questions_and_what_came_of_them() -> None:
    outcome = {"against": "a_1", "expect": "val_loss < 0", "verdict": "not_held", "changes": [], "differences": {}}
    asked = row("b_1", params={"seed": 1, "learning_rate": 1e-3}, metrics={"val_loss": 2.7}, outcome=outcome,
                conclusion="no | better")  # fmt: skip
    failed = row("c", status="failed", description="第三")
    text = index.markdown([*group("a", {1: 2.5, 2: 2.6}), asked, failed], {})
    assert "## a_1: val_loss 2.55 ± 0.070711, n=2" in text
    assert "| [b_1](b_1.json) | 1 |  | val_loss &lt; 0 against a_1 | not held | no \\| better |" in text
    assert "## without weights" in text and "| 第三 |  | failed | the loss is nan at step 7 |" in text
    again = Verdict(experiment="c", checked_at="", duration_s=1, how="retrained", verdict="same_curve")
    assert "| the loss is nan at step 7 | same curve (retrained) |" in index.markdown([failed], {"c": again})
    assert index.markdown([], {}) == "# Experiments 实验索引\n"
