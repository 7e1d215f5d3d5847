"""Digest chains of two runs, compared link by link: where they part, and which part of the state parted first."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from explicitlm.common.errors import DataError

# Columns of digests.csv in the order of cause and effect within one optimizer step, and the part of the state of each
PARTS = {
    "batches": "order of data",
    "rng": "random state",
    "optimizer": "optimizer",
    "weights": "weights",
    "bank": "bank",
    "index": "bank",
}
LATER = {"index"}  # chains of earlier runs lack it: it then says nothing


@dataclass(frozen=True)
class Comparison:
    """What two chains share.

    Attributes:
        steps: the last step that was compared.
        last_equal: the last link before they part; None if the first one differs.
        first_divergent: the first link that differs; None if none does.
        parts: what differs there, causes before effects.
    """

    steps: int
    last_equal: int | None
    first_divergent: int | None
    parts: list[str]

    @property
    def part(self) -> str | None:
        """What parted first."""
        return self.parts[0] if self.parts else None


def compare(one: str, other: str) -> Comparison:
    """Compares the links that two digests.csv have in common.

    Raises:
        DataError: a chain is of an earlier form, or they share no link.
    """
    left, right = _links(one), _links(other)
    common = sorted(left.keys() & right.keys())
    if not common:
        raise DataError("the two digest chains have no step in common", "train more steps: --steps 50")
    last_equal = None
    for step in common:
        columns = [name for name in PARTS if name in left[step] and name in right[step]]
        differ = [PARTS[name] for name in columns if left[step][name] != right[step][name]]
        if differ:
            return Comparison(common[-1], last_equal, step, list(dict.fromkeys(differ)))
        last_equal = step
    return Comparison(common[-1], last_equal, None, [])


def _links(text: str) -> dict[int, dict[str, str]]:
    try:
        rows = list(csv.DictReader(text.splitlines()))
        if not rows or not {"step", *PARTS} - LATER <= rows[0].keys():
            raise DataError(
                "a digest chain is missing or of an earlier form, which does not tell the parts of the state",
                "compare with a commit or an experiment made since",
            )
        return {int(row["step"]): row for row in rows}
    except (ValueError, TypeError, csv.Error):  # no number, no cell, a cell of megabytes
        raise DataError("a digest chain is damaged", "train again: only a training writes it") from None
