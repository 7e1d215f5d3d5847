"""Proving a model without a training of its own: the change of its parent's knowledge is made again."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from explicitlm.common import layout
from explicitlm.common.errors import DataError
from explicitlm.pipeline.supervise import run_logged
from explicitlm.proof import tree as trees
from explicitlm.records.schema import Lineage, Record
from explicitlm.vcs.cache import folder_hash
from explicitlm.vcs.pointer import parse_pointer
from explicitlm.vcs.workspace import Workspace

if TYPE_CHECKING:
    from explicitlm.proof.reproduce import Findings

logger = logging.getLogger(__name__)


def check(workspace: Workspace, record: Record, lineage: Lineage, commit: str, found: Findings) -> None:
    """Restores the weights, or makes the change again from the parent's with the code of the commit, and compares.

    Raises:
        DataError: the weights are nowhere, or the change cannot be made.
    """
    experiment = record.experiment.id
    stored = lineage.parent if found.how != "restored" else experiment
    with trees.isolated(workspace, experiment, commit) as tree:
        folder = tree.workdir / layout.weights(stored)
        _restore(workspace, tree, stored)
        if found.how != "restored":
            found.how = "retrained"
            folder = _made_again(workspace, tree, record, lineage, folder)
        found.checkpoint = folder_hash(folder)
    found.grade = "identical" if found.checkpoint == record.versions.checkpoint_hash else "different"


def _restore(workspace: Workspace, tree: Workspace, experiment: str) -> None:
    file = tree.workdir / layout.pointer_file(experiment)
    if not file.is_file():
        raise DataError(f"{layout.pointer_file(experiment)} is not in its commit", "git fetch --tags")
    pointer = parse_pointer(file.read_text(encoding="utf-8"), layout.pointer_file(experiment), experiment)
    with workspace.open_store() as data_store:
        trees.restore(data_store, tree, layout.weights(experiment), pointer)


def _made_again(workspace: Workspace, tree: Workspace, record: Record, lineage: Lineage, parent: Path) -> Path:
    if lineage.repeat is None:
        raise DataError("its record does not hold the change as data", f"explicitlm reproduce {record.experiment.id}")
    target = tree.workdir / layout.CHECKPOINT
    log = workspace.main / layout.PROOFS / f"{record.experiment.id}.log"
    command = [
        sys.executable,
        "-m",
        "explicitlm.lm.training.change",
        str(parent),
        str(target),
        json.dumps(lineage.repeat),
    ]
    logger.info(f"the change of {lineage.parent} is made again; log: {log}")
    environment = {**os.environ, "PYTHONPATH": str(tree.workdir / "src")}
    outcome = run_logged(command, log, environment, "explicitlm.lm.training.change", append=False, folder=tree.workdir)
    if outcome.exit_code:
        last_line = next((line for line in reversed(outcome.tail) if line.strip()), "it said nothing")
        raise DataError(f"the change cannot be made here: {last_line}", f"cat {log}")
    return target
