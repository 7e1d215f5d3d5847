"""The verbs `explicitlm cluster ...`."""

from __future__ import annotations

import logging
import shlex
import sys
from typing import Annotated

import typer

from explicitlm.cli.options import Against, AsJson, Assignments, Expect, Message, NewId, show_json
from explicitlm.common import logs
from explicitlm.common.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train on a machine without network and git: pre and post here on the login node, train there.",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the experiment.")]
Place = Annotated[
    str, typer.Argument(metavar="HOST:DIR", help="Folder on the compute node; the experiment goes into DIR/ID.")
]
Print = Annotated[bool, typer.Option("--print", help="Only print the rsync line.")]


logger = logging.getLogger(__name__)


@app.callback()
def _each_verb() -> None:
    logs.set_up("[cluster] ")


@app.command("pre", no_args_is_help=True)
def pre_command(
    experiment: NewId,
    assignments: Assignments = None,
    message: Message = None,
    against: Against = None,
    expect: Expect = None,
) -> None:
    """Login node: settle id, data and parameters, and seal them in a tree of their own.

    Example:

      explicitlm cluster pre exp_002 -m "1M entries, 10 epochs" epochs=10 knowledge_num=1048576
    """
    from explicitlm.cluster.pre import pre
    from explicitlm.pipeline.run import Request
    from explicitlm.vcs.workspace import Workspace

    pre(Workspace.find(), experiment, Request(message, assignments or [], against, expect))
    logger.info(f"next: explicitlm cluster push {experiment} HOST:DIR (none with a shared file system), "
        f"then there: explicitlm cluster train {experiment}")  # fmt: skip


@app.command("push", no_args_is_help=True)
def push_command(experiment: Id, place: Place, only_print: Print = False) -> None:
    """Login node: send a prepared experiment to the compute node by rsync over ssh; can be repeated.

    Example:

      explicitlm cluster push exp_002 gpu01:/scratch/me
    """
    from explicitlm.cluster import transfer
    from explicitlm.vcs.workspace import Workspace

    main = Workspace.find().main
    if only_print:
        print(shlex.join(transfer.push_command(main, experiment, place)))
        return
    transfer.push(main, experiment, place)
    logger.info(f"next, on the compute node: cd DIR && explicitlm cluster train {experiment}")


@app.command("train", no_args_is_help=True)
def train_command(experiment: Id) -> None:
    """Compute node: check every file, train, seal what came out; repeated, it continues an interrupted training.

    Example:

      cd /scratch/me && explicitlm cluster train exp_002
    """
    from explicitlm.cluster.train import train

    if code := train(experiment):
        raise typer.Exit(code)
    logger.info(f"next, on the login node: explicitlm cluster fetch {experiment} HOST:DIR, "
        f"explicitlm cluster post {experiment}")  # fmt: skip


@app.command("fetch", no_args_is_help=True)
def fetch_command(experiment: Id, place: Place, only_print: Print = False) -> None:
    """Login node: bring back what the training left; can be repeated.

    Example:

      explicitlm cluster fetch exp_002 gpu01:/scratch/me
    """
    from explicitlm.cluster import transfer
    from explicitlm.vcs.workspace import Workspace

    main = Workspace.find().main
    if only_print:
        print(shlex.join(transfer.fetch_command(main, experiment, place)))
        return
    transfer.fetch(main, experiment, place)
    logger.info(f"next: explicitlm cluster post {experiment}")


@app.command("post", no_args_is_help=True)
def post_command(
    experiment: Id,
    sync_only: Annotated[bool, typer.Option("--sync-only", help="Only upload to SwanLab what is not there.")] = False,
    killed: Annotated[bool, typer.Option("--killed", help="It was killed there for good: record that.")] = False,
    upload_seconds: Annotated[float, typer.Option(min=1, help="Limit of the upload to SwanLab.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Login node: prove what came back, upload the curves, record and publish; can be repeated.

    Examples:

      explicitlm cluster post exp_002

      explicitlm cluster post exp_002 --sync-only
    """
    from explicitlm.cluster import post
    from explicitlm.lm.typed import dump
    from explicitlm.vcs.workspace import Workspace

    if sync_only and killed:
        raise UsageError("--sync-only and --killed exclude each other", "explicitlm cluster post --help")
    logs.set_up("[cluster] ", quiet=as_json)
    workspace = Workspace.find()
    if sync_only:
        record = post.sync_only(workspace, experiment, upload_seconds)
    else:
        record = post.post(workspace, experiment, killed, upload_seconds)
    if as_json:
        show_json(dump(record))
        return
    tag = f" {experiment}" if record.versions.experiment_tag else ""
    logger.info(f"next: git push --atomic origin HEAD{tag}")


@app.command("list")
def list_command(
    as_json: AsJson = False,
) -> None:
    """Login node: which experiments are pending, and what each is waiting for.

    Example:

      explicitlm cluster list
    """
    from explicitlm.cluster.pending import pending
    from explicitlm.vcs.workspace import Workspace

    found = pending(Workspace.find().main)
    if as_json:
        show_json({"pending": [each.as_dict() for each in found]})
        return
    for each in found:
        logger.info(each.line())
    if not found:
        logger.info("nothing is pending; next: explicitlm cluster pre ID KEY=VALUE...")


@app.command("submit", no_args_is_help=True)
def submit_command(
    experiments: Annotated[list[str], typer.Argument(metavar="ID...", help="Prepared ones; several: one array job.")],
    at: Annotated[str | None, typer.Option(help="Absolute folder there, if it was pushed; else shared.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of one experiment (they share a file system).")] = 1,
    gpus: Annotated[int, typer.Option("--gpus-per-node", min=0, help="GPUs on each node.")] = 0,
    time: Annotated[str, typer.Option(help="Time limit, such as 12:00:00; continued beyond it.")] = "",
    warn: Annotated[int, typer.Option(min=1, help="Seconds before the limit at which to save and requeue.")] = 120,
    python: Annotated[str, typer.Option(help="Python on the compute nodes (default: this one).")] = sys.executable,
    sbatch: Annotated[list[str] | None, typer.Option(help="One more option for sbatch, as it knows it.")] = None,
) -> None:
    """Submit training to Slurm; interrupted by time limit, preemption or failure of a node, it continues by itself.

    Examples:

      explicitlm cluster submit exp_002 --gpus-per-node 8 --time 24:00:00

      explicitlm cluster submit exp_003 exp_004 exp_005 --gpus-per-node 1 --sbatch=--partition=a100
    """
    from explicitlm.cluster.schedulers import SCHEDULER
    from explicitlm.cluster.schedulers.protocol import JobRequest
    from explicitlm.vcs.workspace import Workspace

    request = JobRequest(nodes, gpus, time, warn, python, tuple(sbatch or ()))
    job = SCHEDULER.submit(Workspace.find().main, experiments, at, request)
    logger.info(f"job {job}: {' '.join(experiments)} (look at it: squeue --job {job})")
