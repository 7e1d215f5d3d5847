"""All records as rows: broken ones are named and left out, and what was read before is never trusted over the files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import made_records
import pytest

from explicitlm import records
from explicitlm.common import layout
from explicitlm.lm.typed import convert
from explicitlm.records import rows
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Verdict, save_verdict


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made_records.write(tmp_path, made_records.made("exp_a", metrics={"val_loss": 2.5}), made_records.made("exp_b"))
    for path in (tmp_path / layout.RECORDS).iterdir():
        os.utime(path, (1e9, 1e9))
    return tmp_path


def losses(root: Path) -> dict[str, float | None]:
    return {row.id: row.get("val_loss") for row in rows.load(root).rows}


def test_the_made_records_are_records() -> None:
    for record in (made_records.made("x"), made_records.made("y", status="failed")):
        assert convert(record, Record).status == record["status"]


BROKEN = {
    "cut short": ('{"experiment": {"id": "exp_x"', "not valid JSON"),
    "no object": ("[1]", "holds no JSON object"),
    "another version": ('{"schema_version": 99}', "schema version is 99, and this explicitlm reads 1"),
    "no version": ("{}", "schema version is None"),
    "something else": ('{"schema_version": 1, "id": 3}', "it is not a record: 'experiment' is missing"),
    "other kinds": ('{"schema_version": 1, "experiment": 3}', "it is not a record"),
    "a list for a seed": (
        json.dumps(made_records.made("exp_x") | {"seed": [1]}),
        "it is not a record: 'seed' is missing",
    ),
    "a text for data": (json.dumps(made_records.made("exp_x") | {"data": {"database": "x"}}), "it is not a record"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "not text": ("\udcff", "not UTF-8"),
    "another's": (json.dumps(made_records.made("exp_y")), "it is the record of 'exp_y'"),
}


@pytest.mark.parametrize(("text", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_and_the_rest_works(root: Path, text: str, cause: str) -> None:
    (root / layout.RECORDS / "exp_x.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    for _ in range(2):  # as it is read, and with what was kept
        found = rows.load(root)
        assert [row.id for row in found.rows] == ["exp_a", "exp_b"]
        (problem,) = found.problems
        assert problem.path == "experiments/records/exp_x.json"
        assert cause in problem.cause and "\n" not in str(problem)


def test_rows_that_were_kept_follow_the_files(root: Path) -> None:
    assert losses(root) == {"exp_a": 2.5, "exp_b": None}
    assert not (root / layout.ROWS).exists()  # the files changed a moment ago and may again: nothing is kept of them
    path = root / layout.RECORDS / "exp_a.json"
    path.write_text(path.read_text().replace("2.5", "1.5"))
    assert losses(root)["exp_a"] == 1.5
    path.unlink()
    assert losses(root) == {"exp_b": None}


def test_settled_files_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_SETTLED_S", -10.0)
    assert losses(root)["exp_a"] == 2.5
    parsed: list[str] = []
    parse = rows.parse

    def counting(text: bytes, name: str) -> dict[str, dict[str, Any]]:
        parsed.append(name)
        return parse(text, name)

    monkeypatch.setattr(rows, "parse", counting)
    assert losses(root)["exp_a"] == 2.5
    assert parsed == []
    path = root / layout.RECORDS / "exp_a.json"
    path.write_text(path.read_text().replace("2.5", "1.5"))  # equal size, other times
    assert losses(root)["exp_a"] == 1.5
    assert parsed == ["exp_a"]


def test_a_verdict_is_of_no_file_that_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes and goes beside a record that stays as it is."""
    monkeypatch.setattr(rows, "_SETTLED_S", -10.0)
    again = Verdict(experiment="exp_a", checked_at="", duration_s=1, how="restored", verdict="identical")
    path = root / save_verdict(root, again)
    for _ in range(2):  # as it is read, and with what was kept
        assert [row.get("verdict") for row in rows.load(root).rows] == ["identical", None]
    path.unlink()
    assert [row.get("verdict") for row in rows.load(root).rows] == [None, None]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reader": "other", "rows": {"exp_a": [1, 2]}}', '{"rows": 3}'])
def test_a_broken_memory_is_made_anew(root: Path, text: str) -> None:
    (root / layout.ROWS).parent.mkdir(exist_ok=True)
    (root / layout.ROWS).write_text(text)
    assert losses(root) == {"exp_a": 2.5, "exp_b": None}


def test_no_records_at_all(tmp_path: Path) -> None:
    assert rows.load(tmp_path) == rows.Rows([], [])


def test_a_frame_for_notebooks(root: Path) -> None:
    pytest.importorskip("pandas")
    found = records.frame(root)
    assert list(found.index) == ["exp_a", "exp_b"]
    assert found.loc["exp_a", "val_loss"] == 2.5
    assert found.loc["exp_a", "learning_rate"] == 2e-4
    assert found.loc["exp_b", "data.database"].startswith("dddd")
