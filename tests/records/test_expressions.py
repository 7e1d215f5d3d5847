"""Conditions are read, never run."""

from __future__ import annotations

from typing import Any

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.records.expressions import Expression

VALUES: dict[str, Any] = {"val_loss": 2.5, "seed": 3, "status": "finished", "compile": False, "data.database": "abc"}

HOLDS = [
    "val_loss < 2.6", "2 < val_loss <= 2.5", 'status == "finished"', "seed in [1, 3]", "seed not in (4, 5)",
    'val_loss < 1 or status != "failed"', "not compile", "compile == false", 'data.database == "abc"',
    '"nish" in status', "missing == null", "val_loss != null", "val_loss - 1 > seed / 2.1", "-val_loss < 0",
    "not (seed == 3 and val_loss > 9)",
]  # fmt: skip
DOES_NOT = ["missing < 3", "missing > 3", 'val_loss < "a"', "status < 3", "val_loss / 0 > 1", "status * 9999999 == 1",
            "missing != 3"]  # fmt: skip


@pytest.mark.parametrize("text", HOLDS)
def test_holds(text: str) -> None:
    assert Expression(text)(VALUES.get)


@pytest.mark.parametrize("text", DOES_NOT)
def test_does_not_hold(text: str) -> None:
    assert not Expression(text)(VALUES.get)


@pytest.mark.parametrize(
    "text",
    ['__import__("os").system("touch /tmp/x")', "val_loss.__class__()", "(lambda: 1)()", "[x for x in y]",
     "a if b else c",
          "f'{val_loss}'", "seed ** 99999999", "a[0] == 1", "(x := 3) == 3", "{}", "b'x' == status", "status == 'x'.y",
     "val_loss is null", "", "   ", "val_loss <", "status = 'x'", "a; b", "import os", "\0", "(" * 1500, "x" * 3000,
     "~seed == 1", "seed % 2 == 0", "seed << 99999999 > 1", "1j == 1", "... == 1", "print(1)", "*a"],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Expression(text)
    assert caught.value.hint.startswith("for example:")
    assert "\n" not in caught.value.cause


def test_unknown_names_are_told_with_their_like() -> None:
    condition = Expression("val_los < 3")
    with pytest.raises(UsageError, match="no experiment has 'val_los'") as caught:
        condition.check_names(VALUES)
    assert caught.value.hint == "did you mean val_loss?"
