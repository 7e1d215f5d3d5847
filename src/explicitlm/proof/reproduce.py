"""`explicitlm reproduce`: an experiment brought back in a tree of its own, trained again if asked, and judged."""

from __future__ import annotations

import logging
import os
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from explicitlm.common import layout
from explicitlm.common.clock import now
from explicitlm.common.environment import NUM_THREADS
from explicitlm.common.errors import DataError, ExplicitLMError, UsageError
from explicitlm.pipeline import identity
from explicitlm.proof import answers, curves, derived
from explicitlm.proof import tree as trees
from explicitlm.records import causes, chain, store
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Difference, Grade, Verdict, save_verdict
from explicitlm.vcs import worktree
from explicitlm.vcs.cache import folder_hash
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)
MOST_METRICS = 10  # that are named where many differ


class OverBudgetError(ExplicitLMError):
    """A training was ended because its time was over."""


@dataclass
class Findings:
    """What a check found so far."""

    grade: Grade = "identical"
    how: Literal["restored", "head", "retrained"] = "restored"
    differences: list[Difference] = field(default_factory=list)
    reason: str | None = None
    comparison: chain.Comparison | None = None
    checkpoint: str | None = None
    run: trees.Run | None = None


def reproduce(
    workspace: Workspace, experiment: str, retrain: bool, steps: int | None = None, limit_s: float | None = None
) -> Verdict:
    """Checks one experiment and keeps the verdict beside its record.

    Args:
        retrain: train again to the end.
        steps: train for so many optimizer steps only and compare the head of the digest chain.
        limit_s: seconds that its training may take.

    Raises:
        UsageError: there is no such record.
        OverBudgetError: its training took longer and was ended; no verdict is kept.
    """
    clock, record = time.monotonic(), store.load(workspace.main, experiment)
    found = Findings(how="head" if steps else "retrained" if retrain else "restored")
    try:
        _check(workspace, record, found, steps, limit_s)
    except OverBudgetError:
        raise
    except ExplicitLMError as error:
        found.grade, found.reason = "not_reproducible", error.cause
    verdict = _verdict(experiment, found, time.monotonic() - clock)
    logger.info(f"kept: {save_verdict(workspace.main, verdict)}")
    return verdict


def _check(workspace: Workspace, record: Record, found: Findings, steps: int | None, limit_s: float | None) -> None:
    experiment, git = record.experiment.id, workspace.git
    commit = git.tag_commit(experiment)
    if record.versions.checkpoint_hash is None:
        raise DataError(f"its training {record.status}: there are no weights to compare with", "")
    if commit is None:
        _cause(found, "code", f"tag {experiment}", record.versions.experiment_commit, None)
        raise DataError(f"tag {experiment} is not in this clone", "git fetch --tags")
    if record.lineage is not None:
        derived.check(workspace, record, record.lineage, commit, found)
        return
    if commit != record.versions.experiment_commit:
        _cause(found, "code", f"tag {experiment}", record.versions.experiment_commit, commit)
    with trees.isolated(workspace, experiment, commit) as tree:
        logger.info(f"{experiment}: code of {commit[:8]}")
        _compare_versions(tree, record, found)
        _restore(workspace, tree, record, found)
        if found.how == "restored":
            found.checkpoint = folder_hash(tree.workdir / layout.weights(experiment))
            found.grade = "identical" if found.checkpoint == record.versions.checkpoint_hash else "different"
            if found.differences and found.grade == "identical":
                found.grade = "different"  # the weights are there, but not what they would be made of
            return
        recorded = _Recorded.of(tree)
        found.run = _train(workspace, tree, record, steps, limit_s)
        found.differences += causes.of_environment(record.environment, found.run.environment)
        _judge(tree, record, found, recorded)


def _compare_versions(tree: Workspace, record: Record, found: Findings) -> None:
    sealed = _sealed(tree, record.experiment.id)
    tracked = worktree.Worktree(tree.workdir).tracked()
    found.differences += causes.of_code(record, sealed, identity.code_digests(tree), tracked)
    found.differences += causes.of_parameters(record, sealed)
    versions = {Path(path).name: pointer.md5 for path, pointer in trees.pointers(tree.workdir).items()}
    found.differences += causes.of_data(record, versions)


def _sealed(tree: Workspace, experiment: str) -> Manifest:
    """The manifest that the tag's commit holds.

    Raises:
        DataError: there is none, or it is broken.
    """
    hint = f"git ls-remote --tags origin {experiment} tells whether the published one is another"
    try:
        return load_sealed(tree.workdir / layout.MANIFEST, Manifest, hint)
    except UsageError as error:
        cause = error.cause.replace(f"{tree.workdir}/", "")
        raise DataError(f"what tag {experiment} holds cannot be checked: {cause}", hint) from None


def _restore(workspace: Workspace, tree: Workspace, record: Record, found: Findings) -> None:
    """Brings data, and weights where they are compared as such, from cache and remote, and checks their bytes."""
    experiment = record.experiment.id
    pointers: dict[str, Pointer] = trees.pointers(tree.workdir)
    weights = layout.weights(experiment)
    if found.how == "restored":
        text = workspace.git.read(f"refs/tags/{experiment}", layout.weights_pointer(experiment))
        if text is None:
            text = (workspace.main / layout.weights_pointer(experiment)).read_text(encoding="utf-8")
        pointers[weights] = parse_pointer(text, layout.weights_pointer(experiment), experiment)
    with workspace.open_store() as data_store:
        for path, pointer in pointers.items():
            try:
                trees.restore(data_store, tree, path, pointer)
            except ExplicitLMError:
                _cause(found, "weights" if path == weights else "data", path, pointer.md5[:8], "nowhere")
                raise


@dataclass(frozen=True)
class _Recorded:
    """What the recorded run left in its commit, read before it is written over."""

    digests: str
    numbers: curves.Numbers

    @classmethod
    def of(cls, tree: Workspace) -> _Recorded:
        path = tree.workdir / layout.DIGESTS
        digests = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return cls(digests, curves.read(tree.workdir))


def _train(
    workspace: Workspace, tree: Workspace, record: Record, steps: int | None, limit_s: float | None
) -> trees.Run:
    try:
        command = shlex.split(record.experiment.command)
    except ValueError:  # a quotation mark without its other half
        command = []
    if command[:3] != ["accelerate", "launch", layout.TRAINING_SCRIPT]:
        raise DataError(f"the record's command is no training of this project: {record.experiment.command}", "")
    if steps is not None:
        command += ["--stop_after", str(steps)]
    threads = record.environment.get("num_threads")
    chosen = os.environ.get(NUM_THREADS) or os.environ.get("OMP_NUM_THREADS", "1") != "1"
    more = {} if chosen or not isinstance(threads, int) else {NUM_THREADS: str(threads)}
    log = workspace.main / layout.PROOFS / f"{record.experiment.id}.log"
    logger.info(f"training again; log: {log}")
    run = trees.train(tree, command, log, more, limit_s)
    if run.outcome.overdue:
        cause = (
            f"{record.experiment.id} was ended after {limit_s:.0f} s of training, which was the rest of the budget; "
            "it is not verified"
        )
        raise OverBudgetError(cause, f"explicitlm reproduce {record.experiment.id} --retrain")
    if run.outcome.exit_code:
        last_line = next((line for line in reversed(run.outcome.tail) if line.strip()), "it said nothing")
        raise DataError(f"its training fails here: {last_line}", f"cat {log}")
    return run


def _judge(tree: Workspace, record: Record, found: Findings, recorded: _Recorded) -> None:
    """Grades what a training gave: of a whole one the weights decide, whatever form its recorded chain has."""
    run = found.run
    assert run is not None
    try:
        found.comparison = chain.compare(recorded.digests, run.digests)
    except DataError:
        if found.how == "head":
            raise  # nothing else tells whether the first steps are equal
    before, after = recorded.numbers, curves.read(tree.workdir)
    if found.how == "retrained":
        found.checkpoint = folder_hash(tree.workdir / layout.CHECKPOINT)
        equal = found.checkpoint == record.versions.checkpoint_hash
        before, after = before | curves.final(record.results.metrics), after | curves.final(run.metrics)
    else:
        equal = found.comparison is not None and found.comparison.first_divergent is None
    if not equal:
        found.grade = curves.grade(before, after)
        return
    otherwise = curves.differing(before, after)
    answered = None
    if found.how == "retrained" and record.results.items:
        answered = answers.difference(tree, record.results.items)
    # Equal weights, and yet other results are recorded?
    found.grade = "different" if otherwise or answered else "identical"
    for step, name in otherwise[:MOST_METRICS]:
        what = name if step == curves.FINAL else f"{name} at step {step}"
        _cause(found, "metrics", what, before[step, name], after[step, name])
    if answered:
        found.differences.append(answered)


def _cause(found: Findings, cause: Any, what: str, was: Any, now: Any) -> None:
    found.differences.append(Difference(cause=cause, what=what, was=was, now=now))


def _verdict(experiment: str, found: Findings, seconds: float) -> Verdict:
    comparison = found.comparison
    return Verdict(
        experiment=experiment,
        checked_at=now(),
        duration_s=round(seconds, 3),
        how=found.how,
        verdict=found.grade,
        causes=list(dict.fromkeys(each.cause for each in found.differences)),
        differences=found.differences,
        steps=comparison.steps if comparison else None,
        last_equal_step=comparison.last_equal if comparison else None,
        first_divergent_step=comparison.first_divergent if comparison else None,
        part=comparison.part if comparison else None,
        parts=comparison.parts if comparison else [],
        reason=found.reason,
        checkpoint_hash=found.checkpoint,
        metrics=found.run.metrics if found.run else {},
        environment=found.run.environment if found.run else {},
    )
