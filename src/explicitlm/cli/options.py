"""What the verbs share: common options, and printing what a person or a machine reads."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from explicitlm.common.files import to_json
from explicitlm.common.shown import printable, without_secrets

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Message = Annotated[str | None, typer.Option("-m", "--message", help="Description of the experiment.")]
Against = Annotated[
    str | None, typer.Option("--against", metavar="ID", help="The baseline, over `against` in params.yaml.")
]
Expect = Annotated[
    str | None,
    typer.Option("--expect", metavar="EXPR", help="What you expect of the differences to it: 'val_loss < -0.05'."),
]
NewId = Annotated[str, typer.Argument(metavar="ID", help="Id of the new experiment, unique in the project.")]
Assignments = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Parameters over params.yaml.")]

Chosen = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="None: all of them.")]
Where = Annotated[str | None, typer.Option(metavar="EXPR", help="Only those for which it holds.")]


def show(line: str) -> None:
    """One line on standard output, without passwords of URLs and what would steer the terminal."""
    print(printable(without_secrets(line)), flush=True)


def show_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(to_json(value), end="", flush=True)
