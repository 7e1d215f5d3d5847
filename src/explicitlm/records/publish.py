"""Makes a finished experiment last: its data on the remote, its commit tagged, its record on the current branch.

Three steps, in this order, each repeatable: a failure in one leaves the earlier ones valid, and the same command goes
on from there. Nothing but the record, the pointer and the index is committed, whatever else is staged or changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from explicitlm.errors import UsageError
from explicitlm.files import write_text
from explicitlm.project import DATASETS
from explicitlm.records import build, handover, store, tracking
from explicitlm.records.handover import Manifest
from explicitlm.records.schema import Record
from explicitlm.vcs.courier import courier
from explicitlm.vcs.dvc import Dvc
from explicitlm.vcs.git import Repository
from explicitlm.vcs.pointer import Pointer, parse_pointer

Say = Callable[[str], None]


def publish(main: Path, experiment: str, say: Say) -> Record:
    """Publishes one experiment; a failed or interrupted one has a record only.

    Raises:
        UsageError: there is no such experiment, or several. StorageError: the remote cannot take the data.
    """
    git = Repository(main)
    git.check_committable()
    commit = git.tag_commit(experiment) or _experiment_commit(git, experiment)
    if commit is None:
        record = _unfinished(main, experiment)
        _commit(main, git, record, [], say)
        return record
    record = tracking.updated(main, _record_at(git, commit, experiment))
    pointers = _pointers(git, commit, experiment)
    with courier(main) as messenger:
        messenger.push(pointers)
        say(f"data: remote {messenger.remote.place} holds {', '.join(pointers)}")
    if git.tag_commit(experiment) is None:
        git.tag(experiment, commit)
    say(f"tag: {experiment} -> {commit[:8]}")
    record = record.model_copy(update={"versions": record.versions.model_copy(update={"experiment_commit": commit})})
    pointer = f"checkpoints/{experiment}.dvc"
    write_text(main / pointer, pointers[f"checkpoints/{experiment}"].text())
    _commit(main, git, record, [pointer], say)
    Dvc(main).checkout(pointer)
    say(f"weights: checkpoints/{experiment}/")
    return record


def _experiment_commit(git: Repository, experiment: str) -> str | None:
    commits = git.experiments().get(experiment, [])
    if len(commits) > 1:
        found = ", ".join(commit[:8] for commit in commits)
        raise UsageError(f"several DVC experiments are named {experiment}: {found}",
                         "dvc exp list -A, then dvc exp remove or dvc exp rename all but one")  # fmt: skip
    return commits[0] if commits else None


def _record_at(git: Repository, commit: str, experiment: str) -> Record:
    path = store.path_of(experiment)
    text = git.read(commit, path)
    if text is None:
        raise UsageError(f"{experiment} ({commit[:8]}) holds no record: its record stage did not run",
                         f"dvc exp apply {experiment}, dvc repro --single-item record, "
                         f"dvc exp save -f -n {experiment}")  # fmt: skip
    return store.parse(text, f"{commit[:8]}:{path}")


def _pointers(git: Repository, commit: str, experiment: str) -> dict[str, Pointer]:
    """The versions that an experiment needs: its weights and the datasets as its commit names them."""
    found = {}
    for path in (f"checkpoints/{experiment}", *(dataset.path for dataset in DATASETS)):
        text = git.read(commit, f"{path}.dvc")
        if text is not None:
            found[path] = parse_pointer(text, f"{commit[:8]}:{path}.dvc")
    if f"checkpoints/{experiment}" not in found:
        raise UsageError(
            f"{experiment} ({commit[:8]}) holds no pointer to its weights", "dvc repro --single-item record"
        )
    return found


def _unfinished(main: Path, experiment: str) -> Record:
    """The record of a run without an experiment commit: written when it failed, or made now if it was killed."""
    if (main / store.path_of(experiment)).exists():
        record = store.load(main, experiment)
        if record.status != "finished":
            return record
        raise UsageError(f"{experiment} has a record but no experiment commit",
                         f"dvc exp save -f -n {experiment}, then the same command")  # fmt: skip
    left = main / ".explicitlm/runs" / experiment / "manifest.json"
    if not left.exists():
        raise UsageError(f"there is no experiment {experiment}", "dvc exp list -A shows those that can be published")
    manifest = handover.load(left, Manifest, "dvc exp list -A")
    return build.unfinished(manifest, None)


def _commit(main: Path, git: Repository, record: Record, more: list[str], say: Say) -> None:
    experiment = record.experiment
    store.save(main, record)
    store.write_index(main)
    lines = experiment.description.strip().splitlines()
    message = f"chore: 添加实验记录 {experiment.id} - {lines[0] if lines else record.status}"
    if len(lines) > 1:
        message += "\n\n" + "\n".join(lines[1:])
    commit = git.commit_only(message, store.path_of(experiment.id), store.INDEX, *more)
    say(f"record: {store.path_of(experiment.id)} {f'committed as {commit[:8]}' if commit else 'is committed already'}")
