"""The verb that brings an older project to the present layout."""

from __future__ import annotations

import typer

from explicitlm.cli.options import show
from explicitlm.common import logs

app = typer.Typer()


@app.command("migrate")
def migrate_command() -> None:
    """Bring a project of an older version to the present layout of files; can be repeated.

    Moves the pointers of published experiments to where DVC does not walk through them at each command, and commits
    that. Records, tags and data stay as they are. Also ends the conflict of a merge that brought the new layout.

    Example:

      explicitlm migrate
    """
    from explicitlm.vcs.migrate import migrate
    from explicitlm.vcs.workspace import Workspace

    logs.set_up()
    if not migrate(Workspace.find().main):
        show("the layout is the present one already")
