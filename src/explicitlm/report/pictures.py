"""The pictures of a report: curves, bars, a metric against a parameter, groups with their spread, lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from explicitlm.report.svg import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    axis,
    colour,
    cut,
    dash,
    frame,
    legend,
    named_axis,
    number,
    picture,
    text,
)

WIDTH = 720
HEIGHT = 340
MOST_BARS = 40
FEW_CURVES = 30
MOST_LINEAGE = 40


@dataclass(frozen=True)
class Mark:
    """A value of an experiment. id: its own; kind: the place of its group among the colours."""

    id: str
    kind: int
    x: Any
    y: float


def curves(title: str, y_label: str, series: Mapping[str, Sequence[tuple[float, float]]], kinds: Mapping[str, int],
           names: Sequence[str]) -> str:  # fmt: skip
    """Curves over each other, one an experiment, coloured by group.

    Args:
        series: (step, value) by id. kinds: each id's group. names: of the groups.
    """
    shown = {key: [(x, y) for x, y in points if math.isfinite(y)] for key, points in series.items()}
    places = [point for points in shown.values() for point in points]
    marks, used = legend([names[kind] for kind in dict.fromkeys(kinds[key] for key in shown)], WIDTH, HEIGHT + 12)
    order = {kind: place for place, kind in enumerate(dict.fromkeys(kinds[key] for key in shown))}
    x = axis((point[0] for point in places), LEFT, WIDTH - RIGHT)
    y = axis((point[1] for point in places), HEIGHT - BOTTOM, TOP)
    parts = frame(WIDTH, HEIGHT, x, y, ("step", y_label))
    many = len(shown) > FEW_CURVES  # then dashes only blur, and where lines lie close is what can be seen
    for key, points in shown.items():
        place = order[kinds[key]]
        path = " ".join(f"{x.place(a):.1f},{y.place(b):.1f}" for a, b in points)
        strokes = 'stroke-opacity="0.3"' if many else f'stroke-dasharray="{dash(place)}"'
        look = f'stroke="{colour(place)}" {strokes} data-id="{escape(key, quote=True)}"'
        if len(points) == 1:
            parts.append(_dot(key, (x.place(points[0][0]), y.place(points[0][1])), colour(place), key))
            continue
        parts.append(f'<polyline class="mark" fill="none" stroke-width="1.6" {look} points="{path}">'
                     f"<title>{escape(key)}</title></polyline>")  # fmt: skip
    return picture(title, WIDTH, HEIGHT + used + 4, [*parts, *marks])


def _dot(experiment: str, place: tuple[float, float], fill: str, label: str) -> str:
    """A point of an experiment. label: shown when it is pointed at."""
    return (
        f'<circle class="mark" data-id="{escape(experiment, quote=True)}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" '
        f'r="4" fill="{fill}" fill-opacity="0.75"><title>{escape(label)}</title></circle>'
    )


def bars(title: str, label: str, values: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars, the order as given; beyond `MOST_BARS` the rest is left out and said so."""
    shown = [(name, value) for name, value in values if math.isfinite(value)][:MOST_BARS]
    left, row = 190, 20
    height = TOP + row * len(shown) + BOTTOM
    low = min([value for _, value in shown] + [0.0])
    high = max([value for _, value in shown] + [0.0])
    x = axis([low, high], left, WIDTH - 70)
    parts = []
    for place, (name, value) in enumerate(shown):
        top = TOP + row * place
        begin, end = sorted((x.place(0.0), x.place(value)))
        parts.append(text(left - 8, top + 13, cut(name, 26), "end"))
        parts.append(f'<rect class="mark" data-id="{escape(name, quote=True)}" x="{begin:.1f}" y="{top + 3}" '
                     f'width="{max(end - begin, 1):.1f}" height="{row - 6}" fill="{colour(0)}"/>')  # fmt: skip
        parts.append(text(x.place(max(value, 0.0)) + 5, top + 13, number(value)))
    more = f"{label}; {len(values) - len(shown)} more in the table" if len(values) > len(shown) else label
    return picture(title, WIDTH, height, [*parts, text((left + WIDTH) / 2, height - 12, more, "middle")])


def scatter(title: str, labels: tuple[str, str], marks: Sequence[Mark], names: Sequence[str]) -> str:
    """A metric against a parameter: numbers on a linear or, over more than a factor of 20, a logarithmic axis."""
    values = list(dict.fromkeys(mark.x for mark in marks))
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numeric:
        logarithmic = min(values) > 0 and max(values) / min(values) > 20
        x = axis(values, LEFT, WIDTH - RIGHT, logarithmic)
    else:
        texts = sorted(map(str, values))
        x = named_axis(texts, LEFT, WIDTH - RIGHT)
    y = axis((mark.y for mark in marks), HEIGHT - BOTTOM, TOP)
    parts = frame(WIDTH, HEIGHT, x, y, labels)
    kinds = list(dict.fromkeys(mark.kind for mark in marks))
    for mark in marks:
        x_position = x.place(mark.x if numeric else float(texts.index(str(mark.x))))
        label = f"{mark.id}: {mark.x}, {mark.y:.5g}"
        parts.append(_dot(mark.id, (x_position, y.place(mark.y)), colour(kinds.index(mark.kind)), label))
    legend_parts, used = legend([names[kind] for kind in kinds], WIDTH, HEIGHT + 12) if len(kinds) <= 8 else ([], 0)
    return picture(title, WIDTH, HEIGHT + used + 4, [*parts, *legend_parts])


def spreads(title: str, label: str, groups: Sequence[tuple[str, Sequence[float], tuple[float, float] | None]]) -> str:
    """Groups with every seed's value, their mean, and its 95 % interval.

    Args:
        groups: name, values, interval (None for one value alone).
    """
    left, row = 262, 26
    height = TOP + row * len(groups) + BOTTOM
    everything = [value for _, values, interval in groups for value in (*values, *(interval or ()))]
    x = axis(everything, left, WIDTH - RIGHT)
    parts = []
    for place, tick_label in x.ticks:
        parts.append(f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(text(place, height - BOTTOM + 16, tick_label, "middle"))
    for place, (name, values, interval) in enumerate(groups):
        middle = TOP + row * place + row / 2
        parts.append(text(left - 8, middle + 4, f"{cut(name, 32)} (n={len(values)})", "end"))
        if interval:
            parts.append(f'<line stroke="{colour(0)}" stroke-width="3" x1="{x.place(interval[0]):.1f}" '
                         f'x2="{x.place(interval[1]):.1f}" y1="{middle}" y2="{middle}"/>')  # fmt: skip
        parts += [f'<circle cx="{x.place(value):.1f}" cy="{middle}" r="3.5" fill="{colour(1)}" fill-opacity="0.7"/>'
                  for value in values]  # fmt: skip
        mean = x.place(sum(values) / len(values))
        parts.append(f'<path d="M{mean:.1f} {middle - 8}v16" stroke="#000" stroke-width="2"/>')
    parts.append(text((left + WIDTH) / 2, height - 10, label, "middle"))
    return picture(title, WIDTH, height, parts)


def lineage(
    title: str, columns: Sequence[tuple[str, Sequence[tuple[str, str]]]], edges: Sequence[tuple[str, str]]
) -> str:
    """From data and code to experiments to weights: boxes in columns, lines between them.

    Args:
        columns: heading and (key, label) of its boxes. edges: pairs of keys.
    """
    size, gap, step = 150, 30, 30
    tallest = max(len(boxes) for _, boxes in columns)
    height = TOP + 24 + step * tallest + 14
    places: dict[str, tuple[float, float]] = {}
    parts = []
    for number_, (heading, boxes) in enumerate(columns):
        left = 14 + number_ * (size + gap)
        parts.append(text(left, TOP + 8, heading, more=' class="quiet"'))
        first = TOP + 20 + (tallest - len(boxes)) * step / 2
        for place, (key, label) in enumerate(boxes):
            top = first + place * step
            places[key] = (left, top + 11)
            parts.append(f'<rect x="{left}" y="{top:.1f}" width="{size}" height="22" rx="4" fill="#f4f7fa" '
                         f'stroke="{colour(0)}"/>')  # fmt: skip
            parts.append(text(left + 7, top + 15, cut(label, 21)))
    lines = []
    for begin, end in edges:
        (x1, y1), (x2, y2) = places[begin], places[end]
        x1 += size
        bend = (x2 - x1) / 2
        lines.append(f'<path fill="none" stroke="#999" d="M{x1} {y1:.1f}C{x1 + bend} {y1:.1f} {x2 - bend} {y2:.1f} '
                     f'{x2} {y2:.1f}"/>')  # fmt: skip
    return picture(title, 14 + len(columns) * (size + gap), height, [*lines, *parts])
