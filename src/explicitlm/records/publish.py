"""Makes a finished experiment last: its data on the remote, its commit tagged, its record on the current branch.

Three steps, in this order, each repeatable: a failure in one leaves the earlier ones valid, and the same command goes
on from there. Nothing but the record, the pointer and the index is committed, whatever else is staged or changed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.datasets.table import DATASETS
from explicitlm.records import build, store, tracking
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.records.schema import Record
from explicitlm.vcs.git import Git
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def publish(workspace: Workspace, experiment: str) -> Record:
    """Publishes one experiment; a failed or interrupted one has a record only.

    Raises:
        UsageError: there is no such experiment, or several. StorageError: the remote cannot take the data.
    """
    git, main = workspace.git, workspace.main
    git.check_committable()
    commit = git.tag_commit(experiment) or _experiment_commit(git, experiment)
    if commit is None:
        record = _unfinished(main, experiment)
        _commit(main, git, record, [])
        return record
    record = tracking.updated(main, _record_at(git, commit, experiment))
    pointers = _pointers(git, commit, experiment)
    with workspace.open_store() as data_store:
        data_store.push(pointers)
        logger.info(f"data: remote {data_store.remote.place} holds {', '.join(pointers)}")
    if git.tag_commit(experiment) is None:
        git.tag(experiment, commit)
    logger.info(f"tag: {experiment} -> {commit[:8]}")
    record = record.model_copy(update={"versions": record.versions.model_copy(update={"experiment_commit": commit})})
    pointer = layout.pointer_file(experiment)
    write_text(main / pointer, pointers[layout.weights(experiment)].text())
    _commit(main, git, record, [pointer])
    workspace.main_dvc.checkout(layout.weights_pointer(experiment))
    logger.info(f"weights: {layout.weights(experiment)}/")
    return record


def _experiment_commit(git: Git, experiment: str) -> str | None:
    commits = git.experiments().get(experiment, [])
    if len(commits) > 1:
        found = ", ".join(commit[:8] for commit in commits)
        raise UsageError(f"several DVC experiments are named {experiment}: {found}",
                         "give all but one another name: dvc exp rename COMMIT NAME")  # fmt: skip
    return commits[0] if commits else None


def _record_at(git: Git, commit: str, experiment: str) -> Record:
    path = layout.record(experiment)
    text = git.read(commit, path)
    if text is None:
        raise UsageError(f"{experiment} ({commit[:8]}) holds no record: its record stage did not run",
                         f"dvc exp apply {experiment}, dvc repro --single-item record, "
                         f"dvc exp save -f -n {experiment}")  # fmt: skip
    return store.parse(text, f"{commit[:8]}:{path}")


def _pointers(git: Git, commit: str, experiment: str) -> dict[str, Pointer]:
    """The versions that an experiment needs: its weights and the datasets as its commit names them."""
    found = {}
    files = {layout.weights(experiment): layout.pointer_file(experiment)}
    files |= {dataset.path: dataset.pointer for dataset in DATASETS}
    for path, file in files.items():
        text = git.read(commit, file)
        if text is not None:
            found[path] = parse_pointer(text, f"{commit[:8]}:{file}")
    if layout.weights(experiment) not in found:
        raise UsageError(
            f"{experiment} ({commit[:8]}) holds no pointer to its weights", "dvc repro --single-item record"
        )
    return found


def _unfinished(main: Path, experiment: str) -> Record:
    """The record of a run without an experiment commit: written when it failed, or made now if it was killed."""
    if (main / layout.record(experiment)).exists():
        record = store.load(main, experiment)
        if record.status != "finished":
            return record
        raise UsageError(f"{experiment} has a record but no experiment commit",
                         f"dvc exp save -f -n {experiment}, then the same command")  # fmt: skip
    left = main / layout.run_dir(experiment) / "manifest.json"
    if not left.exists():
        raise UsageError(f"there is no experiment {experiment}", "dvc exp list -A shows those that can be published")
    manifest = load_sealed(left, Manifest, "dvc exp list -A")
    return build.unfinished(manifest, None)


def _commit(main: Path, git: Git, record: Record, more: list[str]) -> None:
    experiment = record.experiment
    store.save(main, record)
    store.write_index(main)
    lines = experiment.description.strip().splitlines()
    message = f"chore: 添加实验记录 {experiment.id} - {lines[0] if lines else record.status}"
    if len(lines) > 1:
        message += "\n\n" + "\n".join(lines[1:])
    commit = git.commit_only(message, layout.record(experiment.id), layout.INDEX, *more)
    logger.info(
        f"record: {layout.record(experiment.id)} {f'committed as {commit[:8]}' if commit else 'is committed already'}"
    )
