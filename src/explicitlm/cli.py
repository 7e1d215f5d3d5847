"""The command line: verbs only; what they do lives in the modules they call."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from explicitlm.cluster.cli import app as cluster_app
from explicitlm.errors import UsageError, run_reporting
from explicitlm.files import to_json

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Experiments with ExplicitLM that can be run again to the bit.\n\n"
    "The everyday commands are DVC's own: dvc exp run -S epochs=10 -n exp_003, dvc exp show, "
    "dvc repro --single-item record. These verbs add what DVC does not do.",
)

remote_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Choose the store that data is pushed to.")
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the versions of the datasets.")
app.add_typer(remote_app, name="remote")
app.add_typer(data_app, name="data")
app.add_typer(cluster_app, name="cluster")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def say(line: str) -> None:
    """One plain line on standard output."""
    print(line, flush=True)


@app.command("run", no_args_is_help=True)
def run_command(
    experiment: Annotated[str, typer.Argument(metavar="ID", help="Id of the new experiment, unique in the project.")],
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Parameters over params.yaml.")
    ] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="Description of the experiment.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run from its last state.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check, train in an isolated copy, record and publish one experiment.

    Your files stay as they are; afterwards there is one commit more, a tag, and the data on the remote.

    Examples:

      explicitlm run exp_003 -m "learning rate 1e-4, 12 layers" epochs=10 n_layers=12 learning_rate=1e-4

      explicitlm run exp_005 -m "on the data of exp_001" data.dataset=exp_001

      explicitlm run exp_003 --resume
    """
    from explicitlm.pipeline import run as pipeline
    from explicitlm.project import Project

    project = Project.find()
    if resume:
        if assignments or message is not None:
            raise UsageError("--resume continues with the parameters of the interrupted run; it takes no others",
                             f"explicitlm run {experiment} --resume")  # fmt: skip
        record = pipeline.resume(project, experiment, say)
    else:
        record = pipeline.run(project, experiment, message, assignments or [], say)
    say(to_json(record.model_dump(mode="json")).rstrip() if as_json else f"next: git push origin HEAD {experiment}")


@app.command("publish", no_args_is_help=True)
def publish_command(
    experiments: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Experiments that were run with dvc exp run.")
    ],
    as_json: AsJson = False,
) -> None:
    """Push an experiment's data, tag its commit, and commit its record on the current branch.

    Can be repeated: what is done already is not done again. A failed or interrupted run keeps its record.

    Examples:

      explicitlm publish exp_003

      explicitlm publish exp_003 exp_004
    """
    from explicitlm.project import Project
    from explicitlm.records.publish import publish

    project = Project.find()
    records = [publish(project.main, experiment, (lambda line: None) if as_json else say) for experiment in experiments]
    if as_json:
        say(to_json({"records": [record.model_dump(mode="json") for record in records]}).rstrip())
    else:
        tags = [record.experiment.id for record in records if record.versions.experiment_tag]
        say(f"next: git push {' '.join(['origin HEAD', *tags])}")


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
        say(to_json({"checks": [check.as_dict() for check in checks]}).rstrip())
    else:
        for check in checks:
            say(check.line())
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


@app.command("sample-data")
def sample_data_command() -> None:
    """Make the sample data in the versions that the project's history names, and lay out the current one.

    Equal bytes on every machine; your own data is never touched.

    Example:

      explicitlm sample-data
    """
    from explicitlm.pipeline.sample_data import make
    from explicitlm.project import Project

    make(Project.find(), say)


@remote_app.command("minio", no_args_is_help=True)
def remote_minio_command(
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Address of the store, such as http://HOST:9000.")],
    bucket: Annotated[str, typer.Option(help="An existing bucket.")] = "dvc-storage",
    access_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Kept in .dvc/config.local with its secret; without it AWS_* variables count."
        ),
    ] = None,
) -> None:
    """Use an S3 store (MinIO, Ceph, AWS) in this clone.

    The secret of --access-key is read from AWS_SECRET_ACCESS_KEY, from standard input, or asked for. Choice and
    credentials go to .dvc/config.local, which git ignores and only you can read.

    Examples:

      explicitlm remote minio --endpoint http://HOST:9000 --access-key KEY

      explicitlm remote minio --endpoint http://HOST:9000 --bucket dvc-storage --access-key KEY < secret.txt
    """
    from explicitlm.project import Project
    from explicitlm.vcs import remote

    secret = None if access_key is None else _secret()
    remote.choose_s3(Project.find().main, endpoint, bucket, access_key, secret)
    say(f"default remote: minio (s3://{bucket} at {endpoint})")
    say("next: explicitlm doctor")


def _secret() -> str:
    """The secret key: never an argument, which every user of the machine could read."""
    given = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if given is None and not sys.stdin.isatty():
        given = sys.stdin.readline().strip()
    secret = given if given is not None else str(typer.prompt("Secret key", hide_input=True))
    if not secret:
        raise UsageError("there is no secret for --access-key",
                         "set AWS_SECRET_ACCESS_KEY, or give it on standard input")  # fmt: skip
    return secret


@remote_app.command("local")
def remote_local_command() -> None:
    """Go back to the project's own default: a folder beside the clone.

    Example:

      explicitlm remote local
    """
    from explicitlm.project import Project
    from explicitlm.vcs import courier, remote

    main = Project.find().main
    remote.choose_local(main)
    chosen = courier.remote_of(main)
    say(f"default remote: {chosen.place if chosen else 'none'}")


@data_app.command("log", no_args_is_help=True)
def data_log_command(
    dataset: Annotated[str, typer.Argument(help="database, benchmarks, embeddings, knowledge_base or cache.")],
    as_json: AsJson = False,
) -> None:
    """List the versions of a dataset, newest first: date, size, files, tags, and the experiments that used them.

    Examples:

      explicitlm data log database

      git tag snapshot-2024-01 && explicitlm data log database
    """
    from explicitlm.pipeline import data_log
    from explicitlm.project import Project

    versions = data_log.versions(Project.find(), dataset)
    if as_json:
        say(to_json({"dataset": dataset, "versions": [version.as_dict() for version in versions]}).rstrip())
    else:
        for line in data_log.table(versions):
            say(line)


def main() -> None:
    """Entry point of the console script."""
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
