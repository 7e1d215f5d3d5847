"""The numbers that two runs wrote, side by side: losses and metrics by step. Speeds are no results and do not count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import DataError
from explicitlm.records.verdict import Grade

FILES = ("train.csv", "val.csv")
Numbers = dict[tuple[int, str], float]  # by step and column
TOLERANCE = 0.01  # of a metric, relative; for rates near 0 absolute
FINAL = -1  # stands for the step of final metrics
PRINTED = 4  # decimals with which the log and the tables show a loss


def read(folder: Path) -> Numbers:
    """What a training left in the folder of a tree.

    Raises:
        DataError: a file is damaged.
    """
    found: Numbers = {}
    for name in FILES:
        path = folder / layout.RUN / name
        if path.is_file():
            found |= _values(path.read_text(encoding="utf-8", errors="replace"))
    return found


def _values(text: str) -> Numbers:
    header, *rows = [line.split(",") for line in text.splitlines()] or [[]]
    try:
        return {
            (int(row[0]), name): float(cell)
            for row in rows
            for name, cell in zip(header[1:], row[1:], strict=False)
            if cell and not name.endswith("_per_sec")
        }
    except ValueError:
        raise DataError(f"a curve under {layout.RUN} is damaged", "train again: only a training writes it") from None


def final(metrics: Mapping[str, Any]) -> Numbers:
    """The numbers among final metrics, in the form of a curve."""
    return {(FINAL, key): float(value) for key, value in metrics.items() if isinstance(value, int | float)}


def grade(was: Numbers, now: Numbers) -> Grade:
    """How near the numbers of two runs are whose weights differ."""
    pairs = [(was[key], now[key]) for key in was.keys() & now.keys()]
    if not pairs:
        return "different"
    if all(round(one, PRINTED) == round(other, PRINTED) for one, other in pairs):
        return "same_curve"
    if all(math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for one, other in pairs):
        return "within_tolerance"
    return "different"


def differing(was: Numbers, now: Numbers) -> list[tuple[int, str]]:
    """Steps and names of the numbers that both runs have and that are not equal, the first step first.

    They come from equal weights: any difference but that of adding up in another order is one of how they are measured.
    """
    common = sorted(was.keys() & now.keys())
    return [key for key in common if not _alike(was[key], now[key])]


def _alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
