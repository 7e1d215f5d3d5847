"""After publishing: the workspace goes back to HEAD, and what the run left in it stays in the experiment's tag.

A run in the workspace leaves its parameters in params.yaml, its data version in data/*.dvc, and dvc.lock and
experiments/run, which only an experiment's commit holds. All of them would keep git from checking out any experiment
("would be overwritten by checkout"), and the next run would inherit the parameters.
"""

from __future__ import annotations

import logging

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)
LAST = f"{layout.LOCAL}/put-away"  # the id whose tag holds what lay in the workspace last


def put_away(workspace: Workspace) -> bool:
    """Takes out of the workspace what the tag of the experiment that ran in it holds, byte for byte.

    Where anything has changed since the run, or it is not published, everything stays.

    Returns:
        whether it was put away.
    """
    main, git = workspace.main, workspace.git
    try:
        manifest = load_sealed(main / layout.MANIFEST, Manifest, "")
    except UsageError:
        return False
    commit = git.tag_commit(manifest.id)
    names = [layout.PARAMS, *_run_files(workspace)]
    if commit is None or any((main / name).read_bytes() != _at(workspace, commit, name) for name in names):
        return False
    plans = resolve(workspace, {dataset.param: "" for dataset in DATASETS})
    moved = [plan for plan in plans if plan.current != plan.target]
    bring(workspace, moved, check_untouched(workspace, moved))
    for name in names:
        at_head = git.read("HEAD", name)
        if at_head is None:
            (main / name).unlink()
        else:
            write_text(main / name, at_head)
    write_text(main / LAST, f"{manifest.id}\n")
    logger.info(f"workspace: back at HEAD; the parameters and results of {manifest.id} are in its tag "
                f"(git checkout {manifest.id})")  # fmt: skip
    return True


def bring_back(workspace: Workspace) -> None:
    """Undoes `put_away` for dvc.lock and experiments/run, so that the record stage can be repeated at any time."""
    try:
        experiment = (workspace.main / LAST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    git = workspace.git
    commit = git.tag_commit(experiment)
    if commit is None:
        return
    for name in (layout.PIPELINE_LOCK, *git.names(commit, layout.RUN)):
        text = git.read(commit, name)
        if text is not None:
            write_text(workspace.workdir / name, text)


def _run_files(workspace: Workspace) -> list[str]:
    run = sorted(path.name for path in (workspace.main / layout.RUN).iterdir() if path.is_file())
    lock = [layout.PIPELINE_LOCK] if (workspace.main / layout.PIPELINE_LOCK).exists() else []
    return [*lock, *(f"{layout.RUN}/{name}" for name in run)]


def _at(workspace: Workspace, commit: str, name: str) -> bytes | None:
    text = workspace.git.read(commit, name)
    return None if text is None else text.encode("utf-8", "surrogateescape")
