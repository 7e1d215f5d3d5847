"""The command line: each file beside this one holds the verbs of one subject; what they do lives elsewhere."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from explicitlm.cli import archive, cluster, compare, data, experiments, knowledge, migrate, proof, report, watch
from explicitlm.common.errors import run_reporting

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Experiments with ExplicitLM that are reproducible bit for bit.\n\n"
    "The everyday commands are DVC's own: dvc exp run -S epochs=10 -n exp_003, dvc exp show, "
    "dvc repro --single-item record. These verbs add what DVC does not do.",
)
for group in (experiments, compare, report, data, archive, migrate, proof, watch):
    app.add_typer(group.app)
app.add_typer(knowledge.speaking)
app.add_typer(cluster.app, name="cluster")
app.add_typer(knowledge.app, name="knowledge")


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version  # 0.01 s, which no other command needs

        print(f"explicitlm {version('explicitlm')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point of the console script."""
    if sys.getfilesystemencoding() != "utf-8":  # a locale such as C: Chinese names could be neither passed nor shown
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606 (this very program)
    sys.exit(run_reporting(_dispatch))


def _dispatch() -> int:
    """Runs the verb; Click's own errors (unknown option, missing argument) become messages as well."""
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # ClickException, which Typer does not export
            error.show()
            return int(error.exit_code)
        raise
    return code if isinstance(code, int) else 0
