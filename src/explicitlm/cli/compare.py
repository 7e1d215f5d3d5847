"""Verbs that look at experiments: what differs, and whether it is real."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from explicitlm.cli.options import AsJson, Chosen, Where, show, show_json
from explicitlm.common import logs
from explicitlm.common.errors import UsageError

if TYPE_CHECKING:
    from explicitlm.comparison.table import Table
    from explicitlm.records.problem import Problem
    from explicitlm.records.rows import Row
    from explicitlm.vcs.workspace import Workspace

app = typer.Typer()

_WIDTH = 100  # where there is no terminal to ask


@app.command("compare")
def compare_command(
    experiments: Chosen = None,
    where: Where = None,
    sort: Annotated[str | None, typer.Option(metavar="KEY", help="By a value; -KEY: the largest first.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="KEY,...", help="These columns and no others.")] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pair the two experiments' groups by seed, N pairs wanted.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="With --seeds: queue the runs that are missing.")] = False,
    facts: Annotated[
        bool, typer.Option("--facts", help="Which task items the second answers rightly that the first did not.")
    ] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
) -> None:
    """Show what differs between experiments: two in words, any others in a table.

    EXPR and KEY use the names of parameters (learning_rate), of metrics (val_loss), and id, status, seed, description,
    timestamp, duration_s, outcome, verdict (of `explicitlm reproduce`; verdict_how: retrained, head or restored),
    data.database, code.lm, environment.device and their like.

    Examples:

      explicitlm compare --where 'val_loss < 2.5 and n_layers == 6' --sort val_loss

      explicitlm compare exp_010 exp_040

      explicitlm compare exp_010 exp_040 --seeds 5 --run

      explicitlm compare exp_010 exp_040 --facts

      explicitlm compare --where 'verdict == "identical" and verdict_how == "retrained"'

      explicitlm compare --columns id,seed,val_loss --csv
    """
    from explicitlm.comparison import table
    from explicitlm.vcs.workspace import Workspace

    logs.set_up(quiet=as_json or as_csv or as_md)
    workspace = Workspace.find()
    ids = experiments or []
    of_a_table = bool(where or sort or columns or as_csv or as_md)
    if (run or seeds) and (len(ids) != 2 or not seeds or of_a_table):
        raise UsageError("--seeds N compares two experiments, and --run needs it; of the other options it takes --json",
                         "explicitlm compare exp_010 exp_040 --seeds 5 --run")  # fmt: skip
    if facts and (len(ids) != 2 or seeds or of_a_table):
        raise UsageError("--facts compares the answers of two experiments; of the other options it takes --json",
                         "explicitlm compare exp_010 exp_040 --facts")  # fmt: skip
    if as_json + as_csv + as_md > 1:
        raise UsageError("--json, --csv and --md are three forms of one table", "explicitlm compare --csv")
    rows = read_rows(workspace)
    if facts:
        _show_facts(workspace, choose(rows, ids, None), as_json)
        return
    if seeds:
        _show_seeds(workspace, rows, ids, seeds, run, as_json)
        return
    chosen = choose(rows, ids, where)
    if len(ids) == 2 and not of_a_table:
        _show_pair(workspace, chosen, as_json)
        return
    _show_table(table.make(chosen, columns.split(",") if columns else None, sort), as_json, as_csv, as_md)


@app.command("index")
def index_command() -> None:
    """Print an index of all experiments as Markdown: questions, outcomes, conclusions, means of each group of seeds.

    It is made anew each time and lies in no commit.

    Example:

      explicitlm index > index.md
    """
    from explicitlm.comparison import index
    from explicitlm.records.verdict import load_verdicts
    from explicitlm.vcs.workspace import Workspace

    workspace = Workspace.find()
    rows = read_rows(workspace)  # which warns of files that are no verdicts, too
    print(index.markdown(rows, load_verdicts(workspace.main).by_experiment), end="")


def read_rows(workspace: Workspace) -> list[Row]:
    """All records; those that cannot be read, or are not here, are told on standard error."""
    from explicitlm.records import restore, rows
    from explicitlm.vcs.git_command import GitError

    found = rows.load(workspace.main)
    _warn(found.problems)
    with suppress(UsageError, GitError):  # records can be compared where there is no git
        if gone := restore.taken_away(workspace.git):
            print(f"warning: dvc exp apply has taken away {len(gone)} file(s) of experiments that HEAD has; "
                  "explicitlm doctor names the command that brings them back", file=sys.stderr)  # fmt: skip
    return found.rows


def _warn(problems: list[Problem]) -> None:
    from explicitlm.common.shown import one_line

    for problem in problems:
        print(f"warning: {one_line(str(problem))}", file=sys.stderr)


def choose(rows: list[Row], ids: list[str], where: str | None) -> list[Row]:
    """The experiments asked for: by id (none: all) and by condition."""
    from explicitlm.comparison.table import select
    from explicitlm.records.expressions import Expression

    chosen = select(rows, ids) if ids else rows
    if where:
        condition = Expression(where)
        condition.check_names({name for row in rows for name in row.names()} if rows else condition.names)
        chosen = [row for row in chosen if condition(row.get)]
    return chosen


def _show_table(found: Table, as_json: bool, as_csv: bool, as_md: bool) -> None:
    if as_json:
        show_json({"experiments": found.as_dicts()})
    elif as_csv:
        print(found.as_csv(), end="")
    elif as_md:
        print(found.as_markdown(), end="")
    elif found.rows:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if os.isatty(1) else _WIDTH
        print(found.as_text(width), end="")
    else:
        show("no experiment matches")


def _show_pair(workspace: Workspace, chosen: list[Row], as_json: bool) -> None:
    from explicitlm.comparison import pair, sources

    first, second = chosen
    found = pair.compare(first, second, sources.file_lists(workspace.main), sources.code_changes(workspace),
                         sources.shown_alike(workspace.main, first, second))  # fmt: skip
    if as_json:
        show_json(found.as_dict())
    else:
        show("\n".join(found.describe()))


def _show_facts(workspace: Workspace, chosen: list[Row], as_json: bool) -> None:
    from explicitlm.comparison import facts, sources

    first, second = chosen
    before, after = (sources.answers_of(workspace, row) or [] for row in chosen)
    found = facts.compare(first.id, second.id, before, after)
    if as_json:
        show_json(found.as_dict())
    else:
        show("\n".join(found.describe()))


def _show_seeds(workspace: Workspace, rows: list[Row], ids: list[str], pairs: int, run: bool, as_json: bool) -> None:
    from explicitlm.comparison import seeds

    found = seeds.compare(rows, ids[0], ids[1], pairs)
    if as_json:
        show_json(found.as_dict())
    else:
        show("\n".join(seeds.describe(found)))
    if not found.missing:
        return
    if run:
        from explicitlm.pipeline import queue

        queue.missing_seeds(workspace, found.missing)
    elif not as_json:
        show(f"next: explicitlm compare {ids[0]} {ids[1]} --seeds {pairs} --run")
