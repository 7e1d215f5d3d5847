"""The curves that experiments' own commits hold, thinned to what a picture shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from explicitlm.common import layout
from explicitlm.common.errors import ExplicitLMError
from explicitlm.records.rows import Row
from explicitlm.vcs.workspace import Workspace

CURVES = {"val/loss": f"{layout.RUN}/val.csv", "train/loss_ce": f"{layout.RUN}/train.csv"}
MOST_POINTS = 150

Points = list[tuple[float, float]]


def read(workspace: Workspace, rows: Sequence[Row]) -> dict[str, dict[str, Points]]:
    """(step, value) by id, by curve; an experiment whose commit is not in this clone has none."""
    tagged = {f"refs/tags/{row.head['tag']}": row.id for row in rows if row.head["tag"]}
    found: dict[str, dict[str, Points]] = {}
    for key, path in CURVES.items():
        try:
            texts = workspace.git.read_each(tagged, path)
        except ExplicitLMError:  # no git here: the records alone are shown
            texts = {}
        points = {tagged[revision]: parse(text, key) for revision, text in texts.items() if text}
        found[key] = {experiment: curve for experiment, curve in points.items() if curve}
    return found


def parse(text: str, key: str, most: int | None = MOST_POINTS) -> Points:
    """At most so many points of one column; rows that are not numbers, as an edited file may hold, are left out."""
    points = []
    for line in csv.DictReader(io.StringIO(text)):
        try:
            points.append((float(line["step"]), float(line[key])))
        except (KeyError, TypeError, ValueError):
            continue
    every = max(1, -(-len(points) // most)) if most else 1
    return [*points[::every], *(points[-1:] if (len(points) - 1) % every else [])] if points else []
