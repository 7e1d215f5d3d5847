"""Following a hint as a user would: what it names is run as it stands, and nothing is lost by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from valuables import valuables

from explicitlm.common.errors import ExplicitLMError

Refuse = Callable[[], object]


def texts(item: pytest.Item) -> list[re.Pattern[str]]:
    """The hints that a test says it runs, as patterns: {} stands for what is filled in."""
    return [re.compile(re.escape(mark.args[0]).replace(re.escape("{}"), ".*")) for mark in item.iter_markers("hint")]


def run_hint(box: Any, hint: str, commands: str = "(.*)", **placeholders: str) -> None:
    """Runs the commands of a hint in a project.

    Args:
        box: the project. hint: as it was printed.
        commands: a pattern, whose groups are the commands, in their order.
        placeholders: what a reader puts in for a word such as HOST.
    """
    found = re.search(commands, hint, re.DOTALL)
    assert found, hint
    before = valuables(box)
    for command in found.groups():
        for name, value in placeholders.items():
            command = re.sub(rf"\b{name}\b", value, command)
        box.shell(command)
    after = valuables(box)
    assert not [name for content, name in before.items() if content not in after], f"lost by {hint}"


@pytest.fixture
def follow(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Gives `follow(box, refuse, commands, mends=..., **placeholders)`.

    `refuse` raises the error whose hint is followed; where the hint mends its cause, it is called again and must not.
    The hint must be one that the test is marked with.
    """

    def followed(box: Any, refuse: Refuse, commands: str = "(.*)", mends: bool = True, **placeholders: str) -> str:
        with pytest.raises(ExplicitLMError) as caught:
            refuse()
        hint = caught.value.hint
        assert any(pattern.fullmatch(hint) for pattern in texts(request.node)), hint
        run_hint(box, hint, commands, **placeholders)
        if mends:
            refuse()
        return hint

    return followed
