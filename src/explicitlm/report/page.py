"""The page: one HTML file with its style, script and pictures inside, which asks the network for nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from explicitlm.common import layout
from explicitlm.common.clock import now
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.common.shown import printable
from explicitlm.comparison import facts, sources, table
from explicitlm.records import store
from explicitlm.records.problem import Problem
from explicitlm.records.rows import Row
from explicitlm.records.schema import Record
from explicitlm.records.verdict import load_verdicts
from explicitlm.report import curves
from explicitlm.report.content import Content
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def write(workspace: Workspace, rows: Sequence[Row], everything: Sequence[Row], problems: Sequence[Problem],
          target: Path, folder: Path | None) -> list[Path]:  # fmt: skip
    """Writes a report.

    Args:
        rows: the experiments shown. everything: all of the project. problems: files that are no records.
        target: the HTML file. folder: where the pictures go too, as SVG and, if resvg is installed, as PNG.

    Returns:
        what was written.

    Raises:
        UsageError: there is no experiment to show.
    """
    records, broken = _whole(workspace.main, rows)
    rows = [row for row in rows if row.id in records]
    if not rows:
        raise UsageError("there is no experiment to report on", "explicitlm compare shows those with a record")
    verdicts = load_verdicts(workspace.main).by_experiment  # files that are none are among the problems of the rows
    content = Content(rows, everything, curves.read(workspace, rows), records, verdicts,
                      lambda row: sources.answers_of(workspace, row, fetch=False))  # fmt: skip
    drawn = content.pictures()
    write_text(target, render(content, drawn, [*problems, *broken]))
    return [target, *(_export(drawn, folder) if folder else [])]


def _whole(main: Path, rows: Sequence[Row]) -> tuple[dict[str, Record], list[Problem]]:
    """The whole records, by id; and those that a table can show, but that are not what a record must be."""
    records, problems = {}, []
    for row in rows:
        try:
            records[row.id] = store.load(main, row.id)
        except UsageError as error:
            problems.append(Problem(layout.record(row.id), error.cause))
    return records, problems


def render(content: Content, drawn: dict[str, str], problems: Sequence[Problem]) -> str:
    """The page's text."""
    environment = Environment(
        loader=PackageLoader("explicitlm.report", "."),
        autoescape=True,  # every word of a record may be a stranger's
        finalize=_without_control_characters,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["item"] = facts.describe_change
    environment.filters["shown"] = lambda value, name="": table.shown(name, value)
    loader = environment.loader
    assert loader is not None
    style, script = (Markup(loader.get_source(environment, name)[0]) for name in ("page.css", "page.js"))  # noqa: S704
    return environment.get_template("page.html.j2").render(
        content=content,
        table=content.table,
        pictures={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704 (svg.py escapes)
        problems=problems,
        made=now(),
        style=style,
        script=script,
        counted=lambda count, noun: f"{count} {noun}{'' if count == 1 else 's'}",
        is_number=lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    )


def _without_control_characters(value: object) -> object:
    """A text without control characters and marks that turn its direction."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _export(drawn: dict[str, str], folder: Path) -> list[Path]:
    written = []
    for name, svg in drawn.items():
        path = folder / f"{name}.svg"
        write_text(path, svg)
        written.append(path)
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        logger.warning("no PNG without resvg: pip install 'explicitlm[pictures]'")
        return written
    for name, svg in drawn.items():
        path = folder / f"{name}.png"
        path.write_bytes(bytes(svg_to_bytes(svg_string=svg, zoom=2)))
        written.append(path)
    return written
