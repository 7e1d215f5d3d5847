"""What every picture is made of: a frame with axes, marks, a legend; plain SVG that stands alone.

Colours are those of Okabe and Ito (2008), told apart with any kind of colour vision; dashes tell them apart in grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from explicitlm.common.shown import one_line

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A6A00", "#000000")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "", "7 3", "2 3", "9 3 2 3")
OTHER = "#8A8A8A"
FONT = "'Noto Sans CJK SC', 'Noto Sans SC', 'Noto Sans', 'PingFang SC', 'Microsoft YaHei', sans-serif"
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 50, 46
_MOST_LEGEND = 8


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels. ticks: (value's place in pixels, its text)."""

    place: Callable[[float], float]
    ticks: list[tuple[float, str]]


def axis(values: Iterable[float], start: float, end: float, logarithmic: bool = False) -> Axis:
    """A linear or logarithmic axis over some finite values, with room at both ends."""
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        value = math.log10(value) if logarithmic else value
        return start + (end - start) * (value - low) / (high - low)

    chosen = _log_ticks(low, high) if logarithmic else _ticks(low, high)
    return Axis(place, [(place(value), number(value)) for value in chosen])


def named_axis(names: Sequence[str], start: float, end: float) -> Axis:
    """An axis of names at equal distances; a value is a name's number."""
    step = (end - start) / max(len(names), 1)
    return Axis(
        lambda value: start + step * (value + 0.5),
        [(start + step * (place + 0.5), cut(name, 16)) for place, name in enumerate(names)],
    )


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [count * step for count in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    ticks = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
    if len(ticks) < 3:
        powers = range(math.floor(low), math.ceil(high) + 1)
        ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def number(value: float) -> str:
    """A tick's text."""
    return f"{value:.4g}"


def cut(text: str, length: int) -> str:
    """A text of at most that many characters, printable ones only."""
    text = one_line(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def colour(place: int) -> str:
    """The colour of a series by its place; the ninth and later ones share a grey."""
    return COLOURS[place] if place < len(COLOURS) else OTHER


def dash(place: int) -> str:
    """The dashes of a line by its place."""
    return DASHES[place] if place < len(DASHES) else ""


def text(x: float, y: float, content: str, anchor: str = "start", more: str = "") -> str:
    """A text, escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(content)}</text>'


def frame(width: int, height: int, x: Axis, y: Axis, labels: tuple[str, str], turned: bool = False) -> list[str]:
    """Grid, ticks and labels of a picture with two axes.

    Args:
        width, height: of the picture. x, y: its axes. labels: theirs.
        turned: whether the names on the x axis are long and stand at an angle.
    """
    bottom = height - BOTTOM
    parts = []
    for place, label in y.ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(text(LEFT - 6, place + 4, label, "end"))
    for place, label in x.ticks:
        parts.append(f'<line class="tick" x1="{place:.1f}" x2="{place:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        angle = f' transform="rotate(-28 {place:.1f} {bottom + 16})"' if turned else ""
        parts.append(text(place, bottom + 16, label, "end" if turned else "middle", angle))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(text((LEFT + width - RIGHT) / 2, height - 8, labels[0], "middle"))
    parts.append(text(LEFT, TOP - 8, labels[1], "start", ' class="quiet"'))
    return parts


def legend(names: Sequence[str], width: int, top: float) -> tuple[list[str], float]:
    """Names beside their colours, in as many lines as they need; and the height that takes."""
    parts, x, y = [], float(LEFT), top
    for place, name in enumerate([*names[:_MOST_LEGEND], *(["others"] if len(names) > _MOST_LEGEND else [])]):
        label = cut(name, 48)
        size = 34 + sum(13 if ord(letter) > 0x2E80 else 7 for letter in label)
        if x + size > width - RIGHT and x > LEFT:
            x, y = float(LEFT), y + 18
        parts.append(f'<line x1="{x:.0f}" x2="{x + 22:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}" stroke="{colour(place)}" '
                     f'stroke-width="3" stroke-dasharray="{dash(place)}"/>')  # fmt: skip
        parts.append(text(x + 27, y, label))
        x += size + 8
    return parts, y - top + 18 if names else 0.0


def picture(title: str, width: int, height: float, parts: Iterable[str]) -> str:
    """The whole SVG: it names its own font and colours, so that it looks the same outside of the page."""
    style = (
        f"text{{font:12px {FONT};fill:#222}} .title{{font-weight:600;font-size:14px}} .quiet{{fill:#555}} "
        ".grid{stroke:#e3e3e3} .tick,.axis{stroke:#777} .mark:hover{stroke-width:4}"
    )
    heading = text(8, 17, title, more=' class="title"')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title, quote=True)}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{heading}'
        f"{''.join(parts)}</svg>"
    )
