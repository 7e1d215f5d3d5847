"""Phase 1, on the login node: settle what the experiment is made of, in a tree of its own, and seal it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explicitlm.cluster import receipt, trees
from explicitlm.cluster.receipt import Sent
from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.common.files import write_text
from explicitlm.common.ids import is_id
from explicitlm.lm.typed import dump
from explicitlm.pipeline import param_changes
from explicitlm.pipeline import run as pipeline
from explicitlm.pipeline.run import Request
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.vcs import owners, worktree
from explicitlm.vcs.dvc_config import cache_dir
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import change_yaml, load_yaml

logger = logging.getLogger(__name__)


def pre(workspace: Workspace, experiment: str, request: Request) -> Path:
    """Prepares an experiment; repeated with the same words it changes nothing.

    Returns:
        its tree, which a compute node needs a copy of.

    Raises:
        ExplicitLMError: what keeps it from being run, before anything is made.
    """
    overrides = request.overrides()
    if not is_id(experiment):
        pipeline.check(workspace, experiment, overrides)  # says why
    with owners.claim(workspace.main, experiment):
        return _prepare(workspace, experiment, overrides)


def _prepare(workspace: Workspace, experiment: str, overrides: Mapping[str, Any]) -> Path:
    tree = trees.login_tree(workspace.main, experiment)
    if (tree / layout.SENT).exists():
        _check_same(workspace, experiment, tree, overrides)
        logger.info(f"{experiment} is prepared already: {tree}")
        return tree
    if tree.exists():  # an earlier `pre` was interrupted before it sealed anything
        worktree.remove(workspace.main, tree)
    overrides = param_changes.from_head(workspace, overrides)
    pipeline.check(workspace, experiment, overrides)
    try:
        sent = _make(workspace, experiment, tree, overrides)
    except BaseException:
        if tree.exists():
            worktree.remove(workspace.main, tree)
        raise
    size = sum(seal.size for seal in sent.files.values())
    logger.info(f"sealed: {len(sent.files)} files, {size / 1e6:.1f} MB, {tree}")
    return tree


def _make(workspace: Workspace, experiment: str, tree: Path, overrides: Mapping[str, Any]) -> Sent:
    tree.parent.mkdir(parents=True, exist_ok=True)
    worktree.add(workspace.main, tree)
    write_text(tree / ".dvc/config.local", f"[cache]\n    dir = {cache_dir(workspace.main)}\n", mode=0o600)
    change_yaml(tree / layout.PARAMS, overrides)
    prepared = Workspace(tree, workspace.main)
    for stage in prepared.pipeline.before("train"):
        if not prepared.dvc.repro_stage(stage, workspace.main, experiment):
            raise DataError(f"{experiment} was not prepared: {stage} failed (the reason is above)", "explicitlm doctor")
    return receipt.seal_sent(prepared, experiment)


def _check_same(workspace: Workspace, experiment: str, tree: Path, overrides: Mapping[str, Any]) -> None:
    """Repeating `pre` must not hide that another experiment was asked for.

    Raises:
        UsageError: naming what differs.
    """
    pipeline.preview(workspace, overrides)  # an unknown key is told as such
    manifest = load_sealed(tree / layout.MANIFEST, Manifest, f"explicitlm cluster pre {experiment}")
    before: dict[str, Any] = {**dump(manifest.hyperparameters), "description": manifest.description}
    before |= manifest.asked_question
    pins = load_yaml((tree / layout.PARAMS).read_text(encoding="utf-8"), layout.PARAMS)["data"]
    before |= {f"data.{param}": str(revision or "") for param, revision in pins.items()}
    other = [f"{key}={before[key]!r}" for key, value in overrides.items() if before[key] != value]
    if other:
        raise UsageError(f"{experiment} is prepared with {', '.join(other)}",
                         "choose another id; what it waits for: explicitlm cluster list")  # fmt: skip
