"""A published checkpoint with other knowledge becomes an experiment of its own; nothing is trained."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from explicitlm.common import clock, layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.records import store
from explicitlm.records.schema import Lineage, Record, Reproduction
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def check_new(workspace: Workspace, experiment: str) -> None:
    """Refuses an id that is no name or is taken.

    Raises:
        UsageError: as said.
    """
    git = workspace.git
    if not git.valid_name(experiment) or "/" in experiment:
        raise UsageError(f"{experiment!r} cannot name an experiment", "use letters, digits, - and _, such as exp_002")
    taken = (workspace.main / layout.record(experiment)).exists() or git.tag_commit(experiment) is not None
    if taken or experiment in git.experiments():
        raise UsageError(f"there is an experiment {experiment} already", "choose another id after --as")
    git.check_committable()


@dataclass(frozen=True)
class Change:
    """What makes an experiment of another one.

    experiment: the new id; see `check_new`.
    command: what the user typed: typed again it makes the same bytes.
    summary: what is different.
    repeat: the same as data, for `explicitlm.lm.training.change`.
    """

    experiment: str
    command: str
    summary: str
    repeat: dict[str, str | int]


def derive(workspace: Workspace, parent: Record, change: Change, write: Callable[[Path], None]) -> Record:
    """Stores a changed checkpoint, pushes it, and commits and tags its record.

    Args:
        parent: the record of the experiment that it was made from.
        change: how.
        write: writes the checkpoint into a folder.

    Raises:
        StorageError: the remote cannot take the weights.
    """
    git, main, experiment = workspace.git, workspace.main, change.experiment
    with workspace.open_store() as data_store:
        folder = data_store.folder / experiment
        write(folder)
        added = data_store.add(folder)
        shutil.rmtree(folder)
        pointer = Pointer(added.md5, added.size, added.nfiles, experiment)
        data_store.push({layout.weights(experiment): pointer})
        logger.info(f"data: remote {data_store.remote.place} holds {layout.weights(experiment)}")
    record = _record(parent, change, git.author(), pointer)
    write_text(main / layout.pointer_file(experiment), pointer.text())
    store.save(main, record)
    paths = (layout.pointer_file(experiment), layout.record(experiment))
    commit = git.commit_only(f"chore: 添加实验记录 {experiment} - {change.summary}", *paths)
    if commit:
        git.tag(experiment, commit, f"{experiment} - {change.summary}")
        logger.info(f"record: {layout.record(experiment)} committed as {commit[:8]}, tag {experiment}")
    workspace.main_dvc.checkout(layout.weights_pointer(experiment))
    return record


def _record(parent: Record, change: Change, author: str, pointer: Pointer) -> Record:
    """The parent's record with what is new; measured numbers and times are the parent's and are left out."""
    origin, experiment = parent.experiment.id, change.experiment
    checkout, pull = f"git checkout {experiment}", f"dvc pull {layout.weights_pointer(origin)}"
    described = replace(
        parent.experiment,
        id=experiment,
        description=f"{origin}, {change.summary}",
        timestamp=clock.now(),
        script="explicitlm knowledge",
        command=change.command,
    )
    versions = replace(
        parent.versions,
        checkpoint_dvc=layout.weights_pointer(experiment),
        checkpoint_hash=pointer.md5,
        checkpoint_hash_short=pointer.md5[:8],
        experiment_commit=None,
        experiment_tag=experiment,
    )
    results = replace(
        parent.results,
        swanlab_url=None,
        swanlab_status="none",
        swanlab_id=None,
        checkpoint_dir=f"{layout.weights(experiment)}/",
        metrics={},
        weights_from=origin,
        items=None,
    )
    return replace(
        parent,
        experiment=described,
        versions=versions,
        results=results,
        timing=None,
        reproduction=Reproduction(
            code_checkout=checkout,
            data_checkout_steps=[],
            checkpoint_pull=f"dvc pull {layout.weights_pointer(experiment)}",
            full_command=f"git checkout {experiment}~1 && {pull} && {change.command}",
        ),
        lineage=Lineage(parent=origin, change=change.summary, author=author, repeat=change.repeat),
    )
