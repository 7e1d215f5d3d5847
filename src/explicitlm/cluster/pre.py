"""Phase 1, on the login node: settle what the experiment is made of, in a tree of its own, and seal it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from explicitlm.cluster import places, receipt
from explicitlm.cluster.receipt import Sent
from explicitlm.errors import DataError, UsageError
from explicitlm.files import write_text
from explicitlm.pipeline import run as pipeline
from explicitlm.project import Project, load_yaml
from explicitlm.records import handover
from explicitlm.records.handover import Manifest
from explicitlm.vcs import params_file, stages, worktree
from explicitlm.vcs.courier import absolute_config

Say = Callable[[str], None]


def pre(project: Project, experiment: str, description: str | None, assignments: list[str], say: Say) -> Path:
    """Prepares an experiment; repeated with the same words it changes nothing.

    Returns:
        its tree, which a compute node needs a copy of.

    Raises:
        ExplicitLMError: what keeps it from being run, before anything is made.
    """
    overrides = pipeline.requested(description, assignments)
    tree = places.login_tree(project.main, experiment)
    if (tree / places.SENT).exists():
        _check_same(project, experiment, tree, overrides)
        say(f"{experiment} is prepared already: {tree}")
        return tree
    if tree.exists():  # an earlier `pre` was interrupted before it sealed anything
        worktree.remove(project.main, tree)
    pipeline.check(project, experiment, overrides)
    try:
        sent = _make(project, experiment, tree, overrides)
    except BaseException:
        if tree.exists():
            worktree.remove(project.main, tree)
        raise
    size = sum(seal.size for seal in sent.files.values())
    say(f"sealed: {len(sent.files)} files, {size / 1e6:.1f} MB, {tree}")
    return tree


def _make(project: Project, experiment: str, tree: Path, overrides: Mapping[str, Any]) -> Sent:
    tree.parent.mkdir(parents=True, exist_ok=True)
    worktree.add(project.main, tree)
    config = absolute_config(project.main / ".dvc")
    write_text(tree / ".dvc/config.local", f"[cache]\n    dir = {config['cache']['dir']}\n", mode=0o600)
    params_file.change(tree / "params.yaml", overrides)
    if not stages.repro_single(tree, project.main, "sync_data", experiment):
        raise DataError(f"{experiment} was not prepared (the reason is above)", "explicitlm doctor")
    return receipt.seal_sent(Project(tree, project.main), experiment)


def _check_same(project: Project, experiment: str, tree: Path, overrides: Mapping[str, Any]) -> None:
    """Repeating `pre` must not hide that another experiment was asked for.

    Raises:
        UsageError: naming what differs.
    """
    pipeline.preview(project, overrides)  # an unknown key is told as such
    manifest = handover.load(tree / places.MANIFEST, Manifest, f"explicitlm cluster pre {experiment}")
    before: dict[str, Any] = {**manifest.hyperparameters.model_dump(), "description": manifest.description}
    pins = load_yaml((tree / "params.yaml").read_text(encoding="utf-8"), "params.yaml")["data"]
    before |= {f"data.{param}": str(revision or "") for param, revision in pins.items()}
    other = [f"{key}={before[key]!r}" for key, value in overrides.items() if before[key] != value]
    if other:
        raise UsageError(f"{experiment} is prepared with {', '.join(other)}",
                         f"another id; or, if it is not wanted: git worktree remove --force {tree}")  # fmt: skip
