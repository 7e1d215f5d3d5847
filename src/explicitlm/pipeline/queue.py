"""Runs that differ from an experiment in the seed only, put into DVC's queue."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.comparison.seeds import Missing
from explicitlm.datasets.table import DATASETS, NONE
from explicitlm.lm.typed import dump
from explicitlm.pipeline.run import check, hydra
from explicitlm.records import store
from explicitlm.vcs import isolated
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def missing_seeds(workspace: Workspace, missing: Sequence[Missing]) -> None:
    """Queues runs; all are checked before the first one is queued.

    Raises:
        UsageError: the code here is not that of an experiment, so a run of it would belong to another group; or DVC's
            queue could not start here.
    """
    isolated.check(workspace.main)
    for like in dict.fromkeys(item.like for item in missing):
        _check_code(workspace, like)
    requested = [(item, _overrides(workspace, item)) for item in missing]
    for item, overrides in requested:
        check(workspace, item.id, overrides)
    for item, overrides in requested:
        workspace.main_dvc.queue(item.id, [f"{key}={hydra(value)}" for key, value in overrides.items()])
        logger.info(f"queued: {item.id} (as {item.like}, seed={item.seed})")
    logger.info(f"next: dvc queue start -j 2; when they are done: explicitlm publish {' '.join(i.id for i in missing)}")


def _check_code(workspace: Workspace, like: str) -> None:
    record = store.load(workspace.main, like)
    commit = workspace.git.tag_commit(like) or record.versions.code_commit
    changes = workspace.git.diff_stat(commit, None, layout.WEIGHT_CODE)
    if changes is None:
        raise UsageError(f"git does not hold the code of {like} ({commit[:8]})", "git fetch --tags")
    if changes:
        raise UsageError(f"the code here is not that of {like}: {changes[-1]}",
                         f"git worktree add ../{like}-code {like}, and the same command there")  # fmt: skip


def _overrides(workspace: Workspace, item: Missing) -> dict[str, Any]:
    """Parameters and data of the experiment it is like; its data by its own id, which names all their versions."""
    record = store.load(workspace.main, item.like)
    pins = {
        f"data.{dataset.param}": (item.like if record.versions.experiment_tag else "")
        if record.data[dataset.folder]
        else NONE
        for dataset in DATASETS
    }
    description = f"{record.experiment.description} (seed {item.seed})".strip()
    return {**dump(record.hyperparameters), "seed": item.seed, "description": description, **pins}
