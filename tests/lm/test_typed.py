"""Checked values: what does not fit is told by its path, in one sentence, however hostile it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from explicitlm.lm.typed import Checked, Open, checked, convert, decode, dump


class First(Checked, frozen=True):
    name: str
    number: int | None = None


class Machine(Open):
    known = First


class Whole(Checked, frozen=True, kw_only=True):
    share: float = 0.5
    count: int
    machine: Machine
    pairs: dict[str, tuple[float, float]]


GOOD: dict[str, Any] = {"count": 3, "machine": {"name": "a"}, "pairs": {"x": [1, 2.5]}}


def test_values_come_back_in_the_order_of_the_fields() -> None:
    whole = convert(GOOD | {"machine": {"more": [1], "name": "a"}}, Whole)
    assert json.dumps(dump(whole)) == (
        '{"share": 0.5, "count": 3, "machine": {"name": "a", "number": null, "more": [1]}, "pairs": {"x": [1.0, 2.5]}}'
    )
    assert decode(json.dumps(dump(whole)), Whole) == checked(whole) == whole


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"count": 3.0}, "count: expected `int`, got `float`"),
        ({"count": True}, "count: expected `int`, got `bool`"),
        ({"share": "1"}, "share: expected `float`, got `str`"),
        ({"pairs": {"x": [1, "2"]}}, "pairs[...][1]: expected `float`, got `str`"),
        ({"x\ny": 1}, r"unknown field 'x\ny'"),
        ({"machine": {}}, "name is missing in machine"),
        ({"machine": {"name": "a", "number": "7"}}, "machine.number: expected `int | null`, got `str`"),
        ({"machine": 3}, "machine: expected `object`, got `int`"),
    ],
)
def test_what_does_not_fit_is_told_by_its_path(wrong: dict[str, Any], told: str) -> None:
    for read in (lambda: convert(GOOD | wrong, Whole), lambda: decode(json.dumps(GOOD | wrong), Whole)):
        with pytest.raises(ValueError) as caught:
            read()
        assert str(caught.value) == told


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "NaN", "[" * 100_000, '{"machine": ' + "[" * 100_000, '{"count": ' + "9" * 5000 + "}",
     '{"count": 1e999}', "\ud800", '{"\\ud800": 1}', b"\xff", b'{"count": "\xff"}', b"\0"],
    ids=lambda text: ascii(text)[:20],
)  # fmt: skip
def test_hostile_text_is_one_line(text: str | bytes) -> None:
    with pytest.raises(ValueError) as caught:
        decode(text, Whole)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_no_type_checker_sees_is_checked_before_it_is_written() -> None:
    report: Any = "three"
    with pytest.raises(ValueError, match="count: expected `int`"):
        checked(Whole(count=report, machine=Machine(name="a"), pairs={}))
