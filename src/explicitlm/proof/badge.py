"""The badge of a project: how many of its experiments came out the same, as a page or a program reads it."""

from __future__ import annotations

from html import escape
from typing import Any

LABEL = "reproduced"
COLOURS = {"brightgreen": "#3c9a1f", "orange": "#c25a00"}  # white letters stand out on both (WCAG AA)
_LETTER, _MARGIN, _HEIGHT = 6.6, 8, 20  # pixels, of 11 px Verdana


def endpoint(message: str) -> dict[str, Any]:
    """The JSON of a shields endpoint."""
    colour = "orange" if "differ" in message else "brightgreen"
    return {"schemaVersion": 1, "label": LABEL, "message": message, "color": colour}


def svg(message: str) -> str:
    """The same as a picture that stands alone, for a README that must ask nobody."""
    colour = COLOURS[endpoint(message)["color"]]
    left, right = (round(len(text) * _LETTER + 2 * _MARGIN) for text in (LABEL, message))
    texts = "".join(
        f'<text x="{x + width / 2:g}" y="14" textLength="{width - 2 * _MARGIN}">{escape(text)}</text>'
        for x, width, text in ((0, left, LABEL), (left, right, message))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(f"{LABEL}: {message}")}"><title>{escape(f"{LABEL}: {message}")}</title>'
        f'<clipPath id="r"><rect width="{left + right}" height="{_HEIGHT}" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="{_HEIGHT}" fill="#555"/>'
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{colour}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{texts}</g></svg>\n"
    )
