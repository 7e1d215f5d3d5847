"""Verbs that look at runs under way."""

from __future__ import annotations

from typing import Annotated

import typer

from explicitlm.cli.options import AsJson, show, show_json
from explicitlm.common import logs

app = typer.Typer()


@app.command("ps")
def ps_command(
    every: Annotated[bool, typer.Option("--all", "-a", help="Also those that have ended on this machine.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the runs under way: step, loss against the baseline at the same step, speed, time left, silence.

    A run whose process is gone without a word is dead; one in a cluster tree, whose process may be on another machine,
    is unknown.

    Example:

      explicitlm ps
    """
    from explicitlm.vcs.workspace import Workspace
    from explicitlm.watch import runs

    found = [run for run in runs.current(Workspace.find()) if every or run.under_way or run.state == "dead"]
    if as_json:
        show_json({"runs": [run.as_dict() for run in found]})
    else:
        show("\n".join(runs.lines(found)) if found else "no run is under way")


@app.command("watch")
def watch_command(
    notify: Annotated[
        str | None, typer.Option(metavar="URL", help="POST one line of JSON there when a run ends, stalls or diverges.")
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Between two looks.")] = 10.0,
) -> None:
    """Show the runs under way until all have ended, and tell an address when one does.

    Example:

      explicitlm watch --notify https://chat.example.org/hook
    """
    from explicitlm.vcs.workspace import Workspace
    from explicitlm.watch import runs, watching

    logs.set_up()
    watching.watch(Workspace.find(), notify, every, lambda found: show("\n".join([*runs.lines(found), ""])))
