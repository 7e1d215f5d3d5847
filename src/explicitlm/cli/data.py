"""Verbs about the datasets and the store that holds them."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from explicitlm.cli.options import AsJson, show, show_json
from explicitlm.common import logs
from explicitlm.common.errors import UsageError
from explicitlm.datasets.table import DATASETS

app = typer.Typer()
remote_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Choose the store that data is pushed to.")
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List and push versions of the datasets.")
app.add_typer(remote_app, name="remote")
app.add_typer(data_app, name="data")


@app.command("sample-data")
def sample_data_command() -> None:
    """Make the sample data in the versions that the project's history names, and lay out the current one.

    Equal bytes on every machine; your own data is never touched.

    Example:

      explicitlm sample-data
    """
    from explicitlm.datasets.install_sample import make
    from explicitlm.vcs.workspace import Workspace

    logs.set_up()
    make(Workspace.find())


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
    from explicitlm.vcs import remote
    from explicitlm.vcs.workspace import Workspace

    secret = None if access_key is None else _secret()
    remote.choose_s3(Workspace.find().main, endpoint, bucket, access_key, secret)
    show(f"default remote: minio (s3://{bucket} at {endpoint})")
    show("next: explicitlm doctor")


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
    from explicitlm.vcs import data_store, remote
    from explicitlm.vcs.workspace import Workspace

    main = Workspace.find().main
    remote.choose_local(main)
    chosen = data_store.remote_of(main)
    show(f"default remote: {chosen.place if chosen else 'none'}")


@data_app.command("push", no_args_is_help=True)
def data_push_command(
    dataset: Annotated[str, typer.Argument(help=f"One of {', '.join(dataset.folder for dataset in DATASETS)}.")],
) -> None:
    """Send a dataset's current version to the remote, and make sure that all of it is there.

    `dvc push` trusts a remote that has the list of a folder's files; this asks for each of them.

    Example:

      explicitlm data push database
    """
    from explicitlm.datasets.push import push
    from explicitlm.vcs.workspace import Workspace

    logs.set_up()
    push(Workspace.find(), dataset)


@data_app.command("log", no_args_is_help=True)
def data_log_command(
    dataset: Annotated[str, typer.Argument(help=f"One of {', '.join(dataset.folder for dataset in DATASETS)}.")],
    as_json: AsJson = False,
) -> None:
    """List the versions of a dataset, newest first: date, size, files, tags, and the experiments that used them.

    Examples:

      explicitlm data log database

      git tag snapshot-2024-01 && explicitlm data log database
    """
    from explicitlm.datasets import log
    from explicitlm.vcs.workspace import Workspace

    versions = log.versions(Workspace.find(), dataset)
    if as_json:
        show_json({"dataset": dataset, "versions": [version.as_dict() for version in versions]})
    else:
        for line in log.table(versions):
            show(line)
