"""Verbs that write experiments down for others: a report of many, an export of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explicitlm.cli.options import Chosen, Where, show
from explicitlm.common import logs

app = typer.Typer()


@app.command("report")
def report_command(
    experiments: Chosen = None,
    where: Where = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The HTML file.")] = Path(
        "report.html"
    ),
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the pictures there too, as SVG and PNG.")
    ] = None,
) -> None:
    """Write one HTML file about the experiments: table, curves, groups of seeds, lineage, commands to reproduce.

    It needs no network, neither to be made nor to be read.

    Examples:

      explicitlm report

      explicitlm report --where 'n_layers == 6' -o six_layers.html --pictures six_layers
    """
    from explicitlm.cli.compare import choose
    from explicitlm.records import rows
    from explicitlm.report import page
    from explicitlm.vcs.workspace import Workspace

    logs.set_up()
    workspace = Workspace.find()
    found = rows.load(workspace.main)
    chosen = choose(found.rows, experiments or [], where)
    written = page.write(workspace, chosen, found.rows, found.problems, output, pictures)
    more = f" and {len(written) - 1} pictures" if len(written) > 1 else ""
    show(f"{output}: {len(chosen)} experiments{more}")


@app.command("export", no_args_is_help=True)
def export_command(
    experiment: Annotated[str, typer.Argument(metavar="ID", help="A finished experiment whose weights lie here.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
) -> None:
    """Write one experiment as a folder for a hub or an archive: weights, model card, RO-Crate, record, checksums.

    Example:

      explicitlm export exp_003 to_publish/exp_003
    """
    from explicitlm.export.folder import export
    from explicitlm.vcs.workspace import Workspace

    logs.set_up()
    export(Workspace.find(), experiment, folder)
