"""The verb that frees the cache of what the remote holds."""

from __future__ import annotations

from typing import Annotated

import typer

from explicitlm.cli.options import AsJson, show, show_json
from explicitlm.common import logs
from explicitlm.common.errors import UsageError

app = typer.Typer()


@app.command("archive")
def archive_command(
    dry: Annotated[bool, typer.Option("--dry", help="Only show what would go.")] = False,
    restore: Annotated[bool, typer.Option("--restore", help="Bring everything back from the remote.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free the cache of weights and data versions that the remote really holds; the rest stays.

    Unlike dvc gc it never removes the only copy: each object is asked for on the remote first. What is in use here
    stays too.

    Examples:

      explicitlm archive --dry

      explicitlm archive

      explicitlm archive --restore
    """
    from explicitlm.pipeline import archive
    from explicitlm.vcs.workspace import Workspace

    if dry and restore:
        raise UsageError("--dry and --restore exclude each other", "explicitlm archive --help")
    logs.set_up(quiet=as_json)
    workspace = Workspace.find()
    if restore:
        names = archive.restore(workspace)
        if as_json:
            show_json({"restored": names})
        else:
            show(f"restored: {', '.join(names) or 'nothing was missing that the remote has'}")
        return
    found = archive.archive(workspace, dry)
    if as_json:
        show_json({"versions": [each.as_dict() for each in found]})
        return
    for each in found:
        show(each.line())
    total = sum(each.free for each in found) / 1e6
    show(f"{'would free' if dry else 'freed'} {total:.1f} MB; "
         f"next: {'explicitlm archive' if dry else archive.BACK + ' brings it back'}")  # fmt: skip
