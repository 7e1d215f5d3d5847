"""Verbs that prove: an experiment run again, a code change that changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from explicitlm.cli.options import AsJson, show, show_json
from explicitlm.common import logs
from explicitlm.common.errors import UsageError

app = typer.Typer()
logger = logging.getLogger(__name__)

Published = Annotated[str, typer.Argument(metavar="ID", help="A published experiment whose weights lie here.")]


@app.command("reproduce", no_args_is_help=True)
def reproduce_command(
    experiment: Annotated[str | None, typer.Argument(metavar="[ID]", help="A published experiment.")] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train again and compare the weights.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Train again, but only so many optimizer steps.")] = None,
    next_ones: Annotated[bool, typer.Option("--next", help="Retrain those not verified yet, cheapest first.")] = False,
    budget: Annotated[str, typer.Option(help="With --next: the time it may take, such as 2h or 90m.")] = "2h",
    as_json: AsJson = False,
) -> None:
    """Bring an experiment back in a tree of its own and say whether it is what its record says; your files stay.

    Exit code 0: identical. 1: anything else, with what was otherwise than in the record.

    Examples:

      explicitlm reproduce exp_001 --retrain

      explicitlm reproduce exp_001 --steps 30

      explicitlm reproduce --next --budget 2h
    """
    from explicitlm.lm.typed import dump
    from explicitlm.proof import night
    from explicitlm.proof.reproduce import reproduce
    from explicitlm.records.verdict import load_verdicts
    from explicitlm.vcs.workspace import Workspace

    logs.set_up(quiet=as_json)
    workspace = Workspace.find()
    if next_ones == (experiment is not None):
        raise UsageError("give one experiment, or --next", "explicitlm reproduce --help")
    if experiment is not None:
        verdicts = [reproduce(workspace, experiment, retrain, steps)]
        content: dict[str, Any] = dump(verdicts[0])
    else:
        verdicts = night.verify_next(workspace, night.seconds(budget))
        content = {"verdicts": [dump(each) for each in verdicts],
                   "badge": load_verdicts(workspace.main).summary(),
                   "left": len(night.unverified(workspace))}  # fmt: skip
    if as_json:
        show_json(content)
    for verdict in [] if as_json else verdicts:
        for line in verdict.lines():
            show(line)
    if next_ones and not as_json:
        show(content["badge"])
    if any(verdict.verdict != "identical" for verdict in verdicts):
        raise typer.Exit(1)


@app.command("badge")
def badge_command(
    as_json: AsJson = False, as_svg: Annotated[bool, typer.Option("--svg", help="Print a picture.")] = False
) -> None:
    """Say how many retrained experiments are identical; with --json in the form of a shields endpoint.

    Examples:

      explicitlm badge --json > badge.json

      explicitlm badge --svg > badge.svg
    """
    from explicitlm.proof import badge
    from explicitlm.records.verdict import load_verdicts
    from explicitlm.vcs.workspace import Workspace

    logs.set_up(quiet=as_json or as_svg)
    if as_json and as_svg:
        raise UsageError("--json and --svg exclude each other", "explicitlm badge --help")
    verdicts = load_verdicts(Workspace.find().main)
    for problem in verdicts.problems:
        logger.warning(problem)
    text = verdicts.summary()
    if as_json:
        show_json(badge.endpoint(text))
    else:
        show(badge.svg(text).rstrip() if as_svg else text)


@app.command("sign", no_args_is_help=True)
def sign_command(
    experiment: Published,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your private key: elliptic curve, PEM.")],
) -> None:
    """Sign an experiment's weights, record and seal together, as OpenSSF model signing does; git keeps the signature.

    A conclusion or a curve's address that is written into the record later makes a new signature necessary.

    Example:

      explicitlm sign exp_003 --key ~/.keys/lab.pem
    """
    from explicitlm.proof import signing
    from explicitlm.vcs.workspace import Workspace

    path = signing.sign(Workspace.find(), experiment, key)
    show(f"signed: {path}; next: git add {path}")


@app.command("verify", no_args_is_help=True)
def verify_command(
    experiment: Published,
    public_key: Annotated[Path, typer.Option(metavar="FILE", help="The signer's public key, PEM.")],
) -> None:
    """Check that weights, record and seal are those that a key's owner signed.

    Example:

      explicitlm verify exp_003 --public-key lab.pub
    """
    from explicitlm.proof import signing
    from explicitlm.vcs.workspace import Workspace

    signing.verify(Workspace.find(), experiment, public_key)
    show(f"{experiment}: weights, record and seal are as they were signed")


@app.command("same", no_args_is_help=True)
def same_command(
    revision: Annotated[str, typer.Argument(metavar="REV", help="Commit, tag or branch to compare with.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps to train both.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Prove that the working tree trains as REV does, to the bit, by training both for some steps.

    Both train on the current data, each with its own code and params.yaml.

    Exit code 0: identical. 1: they part; the first step and the part of the state are told.

    Examples:

      explicitlm same HEAD

      explicitlm same main --steps 100 --json
    """
    from explicitlm.proof.same import same
    from explicitlm.vcs.workspace import Workspace

    logs.set_up(quiet=as_json)
    found = same(Workspace.find(), revision, steps)
    comparison = found.comparison
    if as_json:
        show_json({
            "identical": found.identical, "steps": comparison.steps, "revision": found.revision,
            "first_divergent_step": comparison.first_divergent, "part": comparison.part,
            "parts": comparison.parts, "parameters": found.parameters, "lm": list(found.code),
            "equivalence": found.equivalence,
        })  # fmt: skip
    elif found.identical:
        show(f"identical for {comparison.steps} steps")
        if found.equivalence:
            show(f"noted: {found.equivalence}; next: git add {found.equivalence}")
    else:
        for name, (there, here) in found.parameters.items():
            show(f"params.yaml: {name} {there} -> {here}; without: git stash push params.yaml, then the same command")
        show(f"parts at step {comparison.first_divergent}, in {', '.join(comparison.parts)}")
    if not found.identical:
        raise typer.Exit(1)
