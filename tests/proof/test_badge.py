"""The badge: the same words for a page and for a program."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from explicitlm.proof import badge


@pytest.mark.parametrize(
    ("message", "colour"), [("2 of 2 identical", "brightgreen"), ("1 of 2 identical, 1 differ: <a&b> 1 -> 2", "orange")]
)
def test_a_badge_stands_alone(message: str, colour: str) -> None:
    found = badge.endpoint(message)
    assert found == {"schemaVersion": 1, "label": "reproduced", "message": message, "color": colour}
    picture = ElementTree.fromstring(badge.svg(message))  # noqa: S314 (of our own making)
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["reproduced", message]
    assert picture.get("aria-label") == f"reproduced: {message}"
    assert badge.COLOURS[colour] in badge.svg(message) and "href" not in badge.svg(message)
