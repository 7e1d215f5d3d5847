"""Verbs that run and publish experiments, and the check list."""

from __future__ import annotations

from typing import Annotated

import typer

from explicitlm.cli.options import Against, AsJson, Assignments, Expect, Message, NewId, show, show_json
from explicitlm.common import logs
from explicitlm.common.errors import UsageError

app = typer.Typer()


@app.command("run", no_args_is_help=True)
def run_command(
    experiment: NewId,
    assignments: Assignments = None,
    message: Message = None,
    against: Against = None,
    expect: Expect = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run from its last state.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check, train in an isolated copy, record and publish one experiment.

    Your files stay as they are; afterwards there is one commit more, a tag, and the data on the remote.

    Examples:

      explicitlm run exp_003 -m "learning rate 1e-4, 12 layers" epochs=10 n_layers=12 learning_rate=1e-4

      explicitlm run exp_005 -m "on the data of exp_001" data.dataset=exp_001

      explicitlm run exp_040 --against exp_010 --expect 'val_loss < -0.05' learning_rate=1e-3

      explicitlm run exp_003 --resume
    """
    from explicitlm.lm.typed import dump
    from explicitlm.pipeline import run as pipeline
    from explicitlm.vcs.workspace import Workspace

    logs.set_up(quiet=as_json)
    workspace = Workspace.find()
    if resume:
        if assignments or not (message is against is expect is None):
            raise UsageError("--resume continues with the parameters of the interrupted run; it takes no others",
                             f"explicitlm run {experiment} --resume")  # fmt: skip
        record = pipeline.resume(workspace, experiment)
    else:
        record = pipeline.run(workspace, experiment, pipeline.Request(message, assignments or [], against, expect))
    if as_json:
        show_json(dump(record))
    else:
        show(f"next: git push --atomic origin HEAD {experiment}")


@app.command("publish", no_args_is_help=True)
def publish_command(
    experiments: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Experiments that were run with dvc exp run.")
    ],
    as_json: AsJson = False,
) -> None:
    """Push an experiment's data, tag its commit, and commit its record on the current branch.

    Several become one commit. Can be repeated: what is done already is not done again. A failed or interrupted run
    keeps its record.

    Examples:

      explicitlm publish exp_003

      explicitlm publish exp_003 exp_004
    """
    from explicitlm.lm.typed import dump
    from explicitlm.pipeline.put_away import put_away
    from explicitlm.records.publish import publish_all
    from explicitlm.vcs.workspace import Workspace

    workspace = Workspace.find()
    logs.set_up(quiet=as_json)
    records = publish_all(workspace, experiments)
    put_away(workspace)
    if as_json:
        show_json({"records": [dump(record) for record in records]})
    else:
        tags = [record.experiment.id for record in records if record.versions.experiment_tag]
        show(f"next: git push --atomic {' '.join(['origin HEAD', *tags])}")


@app.command("conclude", no_args_is_help=True)
def conclude_command(
    experiment: Annotated[str, typer.Argument(metavar="ID", help="An experiment with a record.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What you learnt from it.")],
) -> None:
    """Put your conclusion into an experiment's record, and commit it; said again, it replaces the earlier one.

    Example:

      explicitlm conclude exp_040 "1e-3 is better at every seed; the paper's 2e-4 is for larger batches"
    """
    from explicitlm.records.publish import conclude
    from explicitlm.vcs.workspace import Workspace

    logs.set_up()
    conclude(Workspace.find(), experiment, text)


@app.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """Check everything an experiment needs here: git, DVC, remote, data, parameters, disk, environment.

    Exit code 0: no check failed (warnings are told). 1: at least one did, with the command that mends it.

    Example:

      explicitlm doctor
    """
    from explicitlm import doctor

    checks = doctor.examine()
    if as_json:
        show_json({"checks": [check.as_dict() for check in checks]})
    else:
        for check in checks:
            show(check.line())
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)
