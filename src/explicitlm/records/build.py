"""Joins what is known of an experiment into its record: the manifest, the result, `dvc exp show` and git."""

from __future__ import annotations

import logging
from typing import Any

from explicitlm.common import layout
from explicitlm.datasets.table import DATASETS
from explicitlm.records import question, reproduction
from explicitlm.records.manifest import Manifest, Result
from explicitlm.records.schema import (
    Code,
    DataCommits,
    DataDetails,
    Environment,
    Experiment,
    Failure,
    Findings,
    Items,
    Record,
    Results,
    Timing,
    Versions,
)

logger = logging.getLogger(__name__)


def finished(
    manifest: Manifest,
    result: Result,
    checkpoint_md5: str,
    tagged: str | None,
    metrics: dict[str, Any],
    dependencies: dict[str, str],
    items: Items | None,
) -> Record:
    """The record of a training that left a checkpoint.

    Args:
        manifest: what it was made of. result: what came out.
        checkpoint_md5: DVC's hash of the checkpoint, as dvc.lock holds it.
        tagged: the commit that the experiment's tag names, once it is published.
        metrics: final metrics. dependencies: DVC's hashes of train's inputs, by path.
        items: the answers to the task items.
    """
    return _record(manifest, result, checkpoint_md5, tagged, metrics, dependencies, items)


def unfinished(manifest: Manifest, result: Result | None) -> Record:
    """The record of a training that failed, was interrupted, or (`result` None) was killed without a word."""
    return _record(manifest, result, None, None, result.metrics if result else {}, {})


def _record(
    manifest: Manifest,
    result: Result | None,
    checkpoint_md5: str | None,
    tagged: str | None,
    metrics: dict[str, Any],
    dependencies: dict[str, str],
    items: Items | None = None,
) -> Record:
    identifier = manifest.id
    tracker = result.tracker if result else {}
    return Record(
        experiment=Experiment(
            id=identifier,
            description=manifest.description,
            timestamp=manifest.created_at,
            script=manifest.started_by,
            command=manifest.command,
        ),
        versions=Versions(
            code_commit=manifest.code.commit,
            code_commit_short=manifest.code.commit[:8],
            data=DataCommits(**{dataset.record_key: _commit(manifest, dataset.param) for dataset in DATASETS}),
            checkpoint_dvc=layout.weights_pointer(identifier) if checkpoint_md5 else None,
            checkpoint_hash=checkpoint_md5,
            checkpoint_hash_short=checkpoint_md5[:8] if checkpoint_md5 else None,
            experiment_commit=tagged,
            experiment_tag=identifier if checkpoint_md5 else None,
        ),
        hyperparameters=manifest.hyperparameters,
        results=Results(
            swanlab_url=tracker.get("url"),
            checkpoint_dir=f"{layout.weights(identifier)}/" if checkpoint_md5 else None,
            swanlab_status=tracker.get("status", "none"),
            swanlab_id=tracker.get("id"),
            metrics=metrics,
            weights_from=result.experiment if result and checkpoint_md5 else None,
            items=items,
        ),
        environment=Environment(**(result.environment if result else {})),
        reproduction=reproduction.commands(manifest, weights=checkpoint_md5 is not None),
        status=result.status if result else "interrupted",
        failure=_failure(result),
        seed=manifest.hyperparameters.seed,
        code=Code(
            dirty=manifest.code.dirty,
            changed=manifest.code.changed,
            diff_sha256=manifest.code.diff_sha256,
            untracked=manifest.code.untracked,
        ),
        data={dataset.folder: _details(manifest, dataset.param) for dataset in DATASETS},
        changed_params=manifest.changed_params,
        leftover_params=manifest.leftover_params,
        timing=Timing(started_at=result.started_at, finished_at=result.finished_at, duration_s=result.duration_s)
        if result
        else None,
        usage=result.usage if result else {},
        findings=Findings(
            undeclared_inputs=result.undeclared if result else [],
            changed_during_run=result.changed_during_run if result else [],
            facts_left_out=result.facts_left_out if result else 0,
            facts_cut=result.facts_cut if result else 0,
            unread_files=manifest.unread_files,
        ),
        dependencies=dependencies,
        outcome=question.answered(manifest.question, metrics) if manifest.question else None,
    )


def _commit(manifest: Manifest, param: str) -> str | None:
    version = manifest.data.get(param)
    return version.commit if version else None


def _details(manifest: Manifest, param: str) -> DataDetails | None:
    version = manifest.data.get(param)
    return (
        None
        if version is None
        else DataDetails(
            revision=version.revision,
            md5=version.md5,
            size=version.size,
            nfiles=version.nfiles,
            uncommitted=version.uncommitted,
        )
    )


def _failure(result: Result | None) -> Failure | None:
    if result is None:
        return Failure(exit_code=None, signal=None, error="the run was killed before it could say why")
    if result.status == "finished":
        return None
    return Failure(exit_code=result.exit_code, signal=result.signal, error=result.error or "")
