"""A tree of its own in which code is run again: the user's files stay untouched, DVC's cache is shared."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explicitlm.common import environment as names
from explicitlm.common import layout
from explicitlm.common.files import write_text
from explicitlm.datasets.table import DATASETS
from explicitlm.pipeline.supervise import Outcome, run_logged
from explicitlm.vcs import worktree
from explicitlm.vcs.data_store import DataStore
from explicitlm.vcs.dvc_config import cache_dir
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace

OPTIONS = {
    "dataset": "dataset_path",
    "val_dataset": "val_dataset_path",
    "embedding": "pretrained_embedding_path",
    "database_init": "database_init_path",
    "cache": "cache_path",
}


@dataclass(frozen=True)
class Run:
    """A training in a tree. digests: its chain, "" if it left none; log: where its output is."""

    outcome: Outcome
    digests: str
    environment: dict[str, Any]
    metrics: dict[str, Any]
    log: Path


@contextmanager
def isolated(workspace: Workspace, name: str, revision: str | None) -> Iterator[Workspace]:
    """A worktree that lasts as long as the context.

    Args:
        name: begins the folder's name.
        revision: the commit; None is HEAD with the uncommitted changes to tracked files, and new files of the code
            that train declares.
    """
    parent = workspace.main / layout.PROOFS
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"{name}-"))
    try:
        if revision is None:
            worktree.add(workspace.main, folder)
            _copy_new_code(workspace, folder)
        else:
            worktree.add_at(workspace.main, folder, revision)
        write_text(folder / ".dvc/config.local", f"[cache]\n    dir = {cache_dir(workspace.main)}\n", mode=0o600)
        yield Workspace(folder, workspace.main)
    finally:
        worktree.remove(workspace.main, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _copy_new_code(workspace: Workspace, folder: Path) -> None:
    deps = [dep for dep in workspace.pipeline.deps("train") if dep.startswith("src/")]
    for name in workspace.git.untracked(()):
        if name.startswith(tuple(f"{dep}/" for dep in deps)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(workspace.main / name, folder / name)


def pointers(tree: Path) -> dict[str, Pointer]:
    """The versions of the datasets that a tree names, by the path of their data."""
    return {
        dataset.path: parse_pointer(
            (tree / dataset.pointer).read_text(encoding="utf-8"), dataset.pointer, dataset.folder
        )
        for dataset in DATASETS
        if (tree / dataset.pointer).exists()
    }


def fetch_sound(data_store: DataStore, path: str, pointer: Pointer) -> None:
    """Brings data into the cache; what is damaged there is fetched again.

    Raises:
        ExplicitLMError: it is nowhere.
    """
    data_store.fetch({path: pointer})
    if data_store.drop_damaged([pointer.md5, *data_store.parts(pointer)]):
        data_store.fetch({path: pointer})


def restore(data_store: DataStore, tree: Workspace, path: str, pointer: Pointer) -> None:
    """Brings a folder's bytes from cache or remote into a tree.

    Raises:
        ExplicitLMError: they are nowhere.
    """
    fetch_sound(data_store, path, pointer)
    entries = data_store.entries(pointer)
    if entries is None:
        tree.dvc.checkout(f"{path}.dvc", force=True)
    else:
        data_store.link({tree.workdir / path / name: md5 for name, md5 in entries.items()})


def train(
    tree: Workspace, command: list[str], log: Path, more: Mapping[str, str] | None = None, limit_s: float | None = None
) -> Run:
    """Runs a training command in a tree, without a tracker.

    Args:
        command: `accelerate launch 1_pretrain.py ...`.
        more: environment variables over those of this process.
        limit_s: seconds after which it is ended.
    """
    run_dir = tree.workdir / layout.RUN
    for name in (layout.DIGESTS, layout.METRICS, layout.ITEMS):
        (tree.workdir / name).unlink(missing_ok=True)
    reports = tree.workdir / layout.LOCAL / "proof"
    here = str(Path(sys.executable).parent)
    environment = {key: value for key, value in os.environ.items() if key not in (names.RESUME, names.RUN_ID)}
    environment |= {
        "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}",
        names.RUN_DIR: str(reports),
        "PYTHONUNBUFFERED": "1",
        **(more or {}),
    }
    outcome = run_logged(
        [*command, "--no-use_swanlab"], log, environment, layout.TRAINING_SCRIPT, append=False, folder=tree.workdir,
        limit_s=limit_s,
    )  # fmt: skip
    return Run(
        outcome,
        _text(run_dir / "digests.csv"),
        _object(reports / "environment.json"),
        _object(run_dir / "metrics.json"),
        log,
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _object(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found if isinstance(found, dict) else {}
