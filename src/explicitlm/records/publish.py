"""Makes a finished experiment last: its data on the remote, its commit tagged, its record on the current branch.

Three steps, in this order, each repeatable: a failure in one leaves the earlier ones valid, and the same command goes
on from there. Nothing but the record and the pointer is committed, whatever else is staged or changed.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from explicitlm.common import layout
from explicitlm.common.aside import put_away
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.common.ids import RULE, is_id
from explicitlm.datasets.table import DATASETS
from explicitlm.records import build, question, store, tracking
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.records.restore import restore
from explicitlm.records.schema import Record
from explicitlm.vcs import owners
from explicitlm.vcs.empty_outs import empty_outs
from explicitlm.vcs.git import Git
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace

if TYPE_CHECKING:
    from explicitlm.vcs.data_store import DataStore

logger = logging.getLogger(__name__)
MESSAGE = "chore: 添加实验记录"


def publish(workspace: Workspace, experiment: str) -> Record:
    """Publishes one experiment; see `publish_all`."""
    return publish_all(workspace, [experiment])[0]


def publish_all(workspace: Workspace, experiments: list[str]) -> list[Record]:
    """Publishes experiments with one commit for all; a failed or interrupted one has a record only.

    Raises:
        UsageError: before anything is done: there is no such experiment, or several, or no commit can be made here.
        StorageError: the remote cannot take the data.
    """
    for experiment in experiments:
        if not is_id(experiment):
            raise UsageError(f"there is no experiment {experiment!r}: {RULE}", "dvc exp list -A shows all")
    with ExitStack() as claims:
        for experiment in dict.fromkeys(experiments):
            claims.enter_context(owners.claim(workspace.main, experiment))
        return _publish(workspace, experiments)


def _publish(workspace: Workspace, experiments: list[str]) -> list[Record]:
    git, main = workspace.git, workspace.main
    workspace.check_committable()
    restore(git)
    found = [_find(workspace, experiment) for experiment in dict.fromkeys(experiments)]
    finished = [each for each in found if each.commit]
    if finished:
        with workspace.open_store() as data_store:
            empty = empty_outs(data_store)
            for each in finished:
                data_store.push(each.pointers | empty)
                logger.info(f"data: remote {data_store.remote.place} holds {', '.join(each.pointers)}")
    paths = []
    for each in found:
        experiment = each.record.experiment.id
        if each.commit:
            if git.tag_commit(experiment) is None:
                git.tag(experiment, each.commit, _title(each.record))
            logger.info(f"tag: {experiment} -> {each.commit[:8]}")
            pointer = layout.pointer_file(experiment)
            write_text(main / pointer, each.pointers[layout.weights(experiment)].text())
            paths.append(pointer)
        store.save(main, each.record)
        paths.append(layout.record(experiment))
    commit = git.commit_only(_message([each.record for each in found]), *paths)
    what = f"committed as {commit[:8]}" if commit else "is committed already"
    logger.info(f"record: {', '.join(path for path in paths if path.endswith('.json'))} {what}")
    if finished:
        with workspace.open_store() as data_store:
            for each in finished:
                path = layout.weights(each.record.experiment.id)
                _lay_out(workspace, data_store, path, each.pointers[path])
                logger.info(f"weights: {path}/")
                if each.record.outcome:
                    logger.info(f"outcome: {question.describe(each.record.outcome)}")
    return [each.record for each in found]


def _lay_out(workspace: Workspace, data_store: DataStore, path: str, pointer: Pointer) -> None:
    """Brings the weights to where they belong: by links where nothing is there yet, else as DVC does it (0.5 s)."""
    folder, entries = workspace.main / path, data_store.entries(pointer)
    if entries and not data_store.missing(pointer):
        if not folder.exists():
            data_store.link({folder / name: md5 for name, md5 in entries.items()})
            return
        here = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()}
        if here == entries.keys() and all(data_store.is_link(folder / name, md5) for name, md5 in entries.items()):
            return
    workspace.main_dvc.checkout(f"{path}.dvc")


@dataclass(frozen=True)
class _Found:
    """An experiment to publish: its record, and of a finished one the commit and the versions that it needs."""

    record: Record
    commit: str | None
    pointers: dict[str, Pointer]


def _find(workspace: Workspace, experiment: str) -> _Found:
    git, main = workspace.git, workspace.main
    commit = git.tag_commit(experiment) or _experiment_commit(git, experiment)
    if (commit is None or git.read(commit, layout.record(experiment)) is None) and _is_recorded_here(main, experiment):
        # As after training elsewhere by plain commands: recorded by `dvc repro --single-item record`, in no commit yet
        git.stage(layout.record(experiment), layout.pointer_file(experiment))
        workspace.main_dvc.save_experiment(experiment, layout.RUN)
        commit = _experiment_commit(git, experiment)
    if commit is None:
        return _Found(unfinished(main, experiment), None, {})
    record = tracking.updated(main, _record_at(git, commit, experiment))
    versions = replace(record.versions, experiment_commit=commit)
    pointers = _pointers(git, commit, experiment)
    if items := record.results.items:
        pointers[layout.ITEMS] = Pointer(items.md5, items.size, None, PurePosixPath(layout.ITEMS).name)
    return _Found(replace(record, versions=versions), commit, pointers)


def conclude(workspace: Workspace, experiment: str, conclusion: str) -> None:
    """Puts a person's conclusion into an experiment's record, and commits that.

    Raises:
        UsageError: there is no such record, or no words.
    """
    if not conclusion.strip():
        raise UsageError("the conclusion is empty", f'explicitlm conclude {experiment} "what you learnt"')
    workspace.git.check_committable()
    restore(workspace.git)
    record = replace(store.load(workspace.main, experiment), conclusion=conclusion.strip())
    store.save(workspace.main, record)
    commit = workspace.git.commit_only(f"chore: 记录结论 {experiment}", layout.record(experiment))
    logger.info(f"record: {layout.record(experiment)} {f'committed as {commit[:8]}' if commit else 'says so already'}")


def _is_recorded_here(main: Path, experiment: str) -> bool:
    """Whether what lies in the workspace is this experiment, trained and recorded."""
    paths = (layout.record(experiment), layout.pointer_file(experiment), layout.MANIFEST)
    if not all((main / path).is_file() for path in paths):
        return False
    manifest = load_sealed(main / layout.MANIFEST, Manifest, "dvc repro sync_data")
    return manifest.id == experiment and store.load(main, experiment).status == "finished"


def _experiment_commit(git: Git, experiment: str) -> str | None:
    commits = git.experiments().get(experiment, [])
    if len(commits) > 1:
        found = ", ".join(commit[:8] for commit in commits)
        # `dvc exp rename` takes no commit, and of two experiments of one name it sees one
        old, commit = git.experiment_references(experiment)[-1]
        raise UsageError(f"several DVC experiments are named {experiment}: {found}",
                         f"give {commit[:8]} another name, if that is not the one: "
                         f"git update-ref {old}-{commit[:8]} {commit} && git update-ref -d {old}")  # fmt: skip
    return commits[0] if commits else None


def _record_at(git: Git, commit: str, experiment: str) -> Record:
    path = layout.record(experiment)
    text = git.read(commit, path)
    if text is None:
        raise UsageError(f"{experiment} ({commit[:8]}) holds no record: its record stage did not run",
                         _record_again(experiment))  # fmt: skip
    return store.parse(text, f"{commit[:8]}:{path}", experiment)


def _record_again(experiment: str) -> str:
    return f"dvc exp apply {experiment} && dvc repro --single-item record && explicitlm publish {experiment}"


def _pointers(git: Git, commit: str, experiment: str) -> dict[str, Pointer]:
    """The versions that an experiment needs: its weights and the datasets as its commit names them."""
    found = {}
    files = {layout.weights(experiment): layout.pointer_file(experiment)}
    files |= {dataset.path: dataset.pointer for dataset in DATASETS}
    for path, file in files.items():
        text = git.read(commit, file)
        if text is not None:
            found[path] = parse_pointer(text, f"{commit[:8]}:{file}", PurePosixPath(path).name)
    if layout.weights(experiment) not in found:
        raise UsageError(f"{experiment} ({commit[:8]}) holds no pointer to its weights", _record_again(experiment))
    return found


def unfinished(main: Path, experiment: str) -> Record:
    """The record of a run without an experiment commit: written when it failed, or made now if it was killed."""
    if (main / layout.record(experiment)).exists():
        record = store.load(main, experiment)
        if record.status != "finished":
            return record
        raise UsageError(f"{experiment} has a record, but neither a tag nor an experiment of that name is here",
                         f"git fetch origin tag {experiment}, then the same command")  # fmt: skip
    sealed = main / layout.run_dir(experiment) / "manifest.json"
    if not sealed.exists():
        raise UsageError(f"there is no experiment {experiment}", "dvc exp list -A shows those that can be published")
    manifest = load_sealed(sealed, Manifest, "dvc exp list -A")
    if manifest.id != experiment:
        raise UsageError(f"{sealed} is of {manifest.id!r}, not of {experiment!r}", f"explicitlm run {experiment}, "
                         f"after: {put_away(layout.run_dir(experiment), main)}")  # fmt: skip
    return build.unfinished(manifest, None)


def _message(records: list[Record]) -> str:
    """One experiment is named with its description; several by their ids, and below by a line each."""
    if len(records) > 1:
        ids = ", ".join(record.experiment.id for record in records)
        return "\n".join([f"{MESSAGE} {ids}", "", *(_title(record) for record in records)])
    more = records[0].experiment.description.strip().splitlines()[1:]
    return "\n".join([f"{MESSAGE} {_title(records[0])}", *(["", *more] if more else [])])


def _title(record: Record) -> str:
    """An experiment in one line: `exp_003 - its description`, else how it ended."""
    lines = record.experiment.description.strip().splitlines()
    return f"{record.experiment.id} - {lines[0] if lines else record.status}"
