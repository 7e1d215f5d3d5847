"""Validation data: both kinds of lines, and nothing that could pass as a loss of 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from explicitlm.common.errors import DataError
from explicitlm.lm.data.benchmarks import choose_items, read_benchmarks

ITEM = {
    "task": "object_prediction",
    "uuid": "u",
    "prompt": "The capital of Aruba is",
    "choices": ["Oranjestad", "Nicosia"],
    "answer": 0,
}


def test_text_and_items_in_one_folder(tmp_path: Path, write_jsonl: Any) -> None:
    write_jsonl(tmp_path / "b.jsonl", [ITEM, {"text": "plain"}])
    benchmark = read_benchmarks(tmp_path)
    assert benchmark.texts == ["plain"]
    assert benchmark.items[0].texts() == ["The capital of Aruba is Oranjestad", "The capital of Aruba is Nicosia"]
    assert benchmark.items[0].uuid == "u"


def test_items_give_the_text_where_there_is_none(tmp_path: Path, write_jsonl: Any) -> None:
    write_jsonl(tmp_path / "b.jsonl", [ITEM, {**ITEM, "answer": 1}])
    assert read_benchmarks(tmp_path).texts == ["The capital of Aruba is Oranjestad", "The capital of Aruba is Nicosia"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"sentence": "x"}, 'line 2: no string "text"'),
        ({**ITEM, "task": "summary"}, "line 2: unknown task 'summary'"),
        ({**ITEM, "prompt": " "}, 'line 2: "prompt" is not a text'),
        ({**ITEM, "choices": ["one"]}, 'line 2: "choices" is not a list of two or more texts'),
        ({**ITEM, "choices": "two"}, 'line 2: "choices" is not a list'),
        ({**ITEM, "answer": 2}, 'line 2: "answer" is 2, not an index into 2 choices'),
        ({**ITEM, "answer": "Oranjestad"}, "line 2: \"answer\" is 'Oranjestad'"),
        ({**ITEM, "answer": True}, 'line 2: "answer" is True'),
    ],
)
def test_a_wrong_line_is_an_error(tmp_path: Path, write_jsonl: Any, line: Any, message: str) -> None:
    write_jsonl(tmp_path / "b.jsonl", [ITEM, line])
    with pytest.raises(DataError, match=message):
        read_benchmarks(tmp_path)


def test_an_empty_set_is_an_error(tmp_path: Path, write_jsonl: Any) -> None:
    write_jsonl(tmp_path / "b.jsonl", [{"text": " "}])
    with pytest.raises(DataError, match="holds neither text nor items"):
        read_benchmarks(tmp_path)


def test_a_large_set_is_cut_by_the_seed_and_says_so(tmp_path: Path, write_jsonl: Any, logged: list[str]) -> None:
    lines = [{**ITEM, "uuid": str(number)} for number in range(50)]
    write_jsonl(tmp_path / "b.jsonl", [*lines, {**ITEM, "task": "fact_verification"}])
    items = read_benchmarks(tmp_path).items
    kept = choose_items(items, 10, 3)
    assert len(kept) == 11 and logged == ["evaluation: 10 of 50 items of object_prediction, drawn by the seed"]
    numbers = [int(item.uuid or 0) for item in kept[:-1]]
    assert numbers == sorted(numbers) and kept == choose_items(items, 10, 3)
    assert kept != choose_items(items, 10, 4)
    assert choose_items(items, 99, 3) == items
