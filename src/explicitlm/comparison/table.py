"""A table of experiments: which columns it has, its order, and its forms for people, spreadsheets and machines."""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from explicitlm.common.errors import UsageError
from explicitlm.common.shown import markdown, one_line
from explicitlm.lm.observation import OBSERVATION
from explicitlm.records.expressions import unknown
from explicitlm.records.rows import Row

HASHES = ("checkpoint", "commit", "items", "tag")  # and everything under data and code: shown by their first characters
_FIRST_METRICS = ("val_loss", "acc_object_prediction", "acc_relation_reasoning", "acc_fact_verification",
                  "memory_hit_rate")  # fmt: skip
_WIDEST_CELL = 28


@dataclass(frozen=True)
class Table:
    """Cells by row, in the order of the columns; None where an experiment lacks the value."""

    columns: list[str]
    rows: list[list[Any]]

    def as_csv(self) -> str:
        """RFC 4180, values in full."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_escape_formula(cell) for cell in row] for row in self.rows])
        return text.getvalue()

    def as_markdown(self) -> str:
        """A table of GitHub's Markdown."""
        lines = [
            self.columns,
            ["---"] * len(self.columns),
            *([markdown(cell) for cell in row] for row in self._shown()),
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def as_text(self, width: int) -> str:
        """Columns side by side, as many as `width` characters hold; the rest is named below."""
        cells = [self.columns, *self._shown()]
        widths = [max(min(_width(row[place]), _WIDEST_CELL) for row in cells) for place in range(len(self.columns))]
        widths = [max(size, _width(name)) for size, name in zip(widths, self.columns, strict=True)]
        fitting, used = 0, 0
        for size in widths:
            used += size + (2 if fitting else 0)
            if used > width and fitting:
                break
            fitting += 1
        numeric = [all(isinstance(row[place], int | float) or row[place] is None for row in self.rows)
                   for place in range(fitting)]  # fmt: skip
        lines = []
        for row in cells:
            parts = [_fit(row[place], widths[place], numeric[place]) for place in range(fitting)]
            lines.append("  ".join(parts).rstrip() + "\n")
        if self.columns[fitting:]:
            lines.append(f"(not shown: {', '.join(self.columns[fitting:])}; --columns chooses, --csv has all)\n")
        return "".join(lines)

    def as_dicts(self) -> list[dict[str, Any]]:
        """One object a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def _shown(self) -> list[list[str]]:
        return [[shown(name, cell) for name, cell in zip(self.columns, row, strict=True)] for row in self.rows]


def make(rows: Sequence[Row], columns: Sequence[str] | None = None, sort: str | None = None) -> Table:
    """The table of some experiments.

    Args:
        rows: the experiments.
        columns: names of values; None: what differs between them, then what came out.
        sort: a name; with "-" before it, the largest first. Experiments that lack the value come last.

    Raises:
        UsageError: an unknown name.
    """
    known = {name for row in rows for name in row.names()}
    for name in (*(columns or ()), *([sort.removeprefix("-")] if sort else ())):
        if rows and name not in known:
            raise unknown(name, known)
    ordered = ordered_by(rows, sort) if sort else list(rows)
    chosen = list(columns) if columns else distinguishing_columns(rows)
    return Table(chosen, [[row.get(name) for name in chosen] for row in ordered])


def ordered_by(rows: Sequence[Row], sort: str) -> list[Row]:
    """Rows in the order of a value, texts after numbers, rows without it last."""
    name = sort.removeprefix("-")
    with_value = [row for row in rows if row.get(name) is not None]
    with_value.sort(key=lambda row: _order(row.get(name)), reverse=sort.startswith("-"))
    return [*with_value, *(row for row in rows if row.get(name) is None)]


def _order(value: Any) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0.0, str(value)


def distinguishing_columns(rows: Sequence[Row]) -> list[str]:
    """What tells the experiments apart, then what came out of them."""
    columns = ["id"]
    if any(not row.finished for row in rows):
        columns.append("status")
    columns += [name for name in ("outcome", "verdict") if any(row.head.get(name) for row in rows)]
    columns += [name for name in differing(rows, "params") if name not in OBSERVATION]
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    first = [name for name in _FIRST_METRICS if name in metrics]
    varying = set(differing([row for row in rows if row.metrics], "metrics"))
    rest = [name for name in metrics if name not in first and (name in varying or len(rows) == 1)]
    columns += first
    columns += [f"data.{name}" for name in differing(rows, "data")]
    trained = [row for row in rows if row.finished]  # of the others only the commit is known
    columns += [f"code.{name}" for name in differing(trained, "code") if name not in ("commit", "dirty")]
    return [*columns, *rest, *differing(rows, "environment")]


def differing(rows: Sequence[Row], section: str) -> list[str]:
    """Names of a section whose values are not all equal, in the order of the records."""
    first: dict[str, Any] = {}
    found: dict[str, None] = {}
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(getattr(row, section)))
    for row in rows:
        values = getattr(row, section)
        for name in names:
            value = values.get(name)
            if first.setdefault(name, value) != value:
                found[name] = None
    return [name for name in names if name in found]


def shown(name: str, value: Any) -> str:
    """A value as a person reads it in a cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return number(value)
    text = str(value)
    if name in HASHES or name.startswith(("data.", "code.")):
        return text[:8]
    return one_line(text)


def number(value: float) -> str:
    """Five significant digits, without a tail of zeros."""
    return f"{value:.5g}"


def _escape_formula(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: Chinese characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _fit(text: str, width: int, right: bool) -> str:
    if _width(text) > width:
        kept: list[str] = []
        for letter in text:
            if _width("".join(kept)) + _width(letter) > width - 1:
                break
            kept.append(letter)
        text = "".join(kept) + "…"
    space = " " * (width - _width(text))
    return space + text if right else text + space


def select(rows: Sequence[Row], ids: Iterable[str]) -> list[Row]:
    """The rows of some experiments, in the order asked for.

    Raises:
        UsageError: one has no record.
    """
    by_id = {row.id: row for row in rows}
    requested = list(dict.fromkeys(ids))
    for name in requested:
        if name not in by_id:
            near = difflib.get_close_matches(name, list(by_id), n=4)
            raise UsageError(f"{name} has no record", f"did you mean {' or '.join(near)}?" if near else "git pull")
    return [by_id[name] for name in requested]
