"""Single steps of DVC in a tree that is not the main checkout, shown on the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from explicitlm.errors import StorageError


def repro_single(tree: Path, main: Path, stage: str, experiment: str) -> bool:
    """Runs one stage of the tree for an experiment, as `dvc exp run` would; whether it ended well."""
    return _dvc(tree, main, experiment, "repro", "--quiet", "--single-item", stage) == 0


def commit(tree: Path, main: Path, stage: str) -> None:
    """Takes what a stage left in the tree into the cache and into dvc.lock, without running it.

    Raises:
        StorageError: the cache cannot take it.
    """
    if _dvc(tree, main, None, "commit", "--quiet", "--force", stage):
        raise StorageError(
            f"dvc commit {stage} failed in {tree} (DVC's message is above)", "free space there, then the same command"
        )


def _dvc(tree: Path, main: Path, experiment: str | None, *arguments: str) -> int:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_EXP_")}
    # DVC keeps a DVC_ROOT that is set: as in DVC's own isolated runs, a stage learns the main checkout from it.
    environment |= {"DVC_ROOT": str(main), "DVC_NO_ANALYTICS": "1"}
    environment.pop("DVC_STAGE", None)
    if experiment:
        environment["DVC_EXP_NAME"] = experiment
    return subprocess.call(
        [sys.executable, "-m", "dvc", *arguments], cwd=tree, env=environment, stdin=subprocess.DEVNULL
    )
