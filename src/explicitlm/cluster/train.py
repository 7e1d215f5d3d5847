"""Phase 2, on the compute node: check what arrived, train, seal what came out. Needs neither git, network nor DVC.

One process from the scheduler's signal to the seal, so that SIGTERM or SIGUSR1 is passed on exactly once; a repeated
call continues from the last resume state, which is how a requeued job goes on.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from pathlib import Path

from filelock import FileLock, Timeout

import explicitlm
from explicitlm.cluster import receipt, trees
from explicitlm.cluster.schedulers import SCHEDULER
from explicitlm.cluster.schedulers.protocol import Node
from explicitlm.common import layout
from explicitlm.common.environment import RESUME
from explicitlm.common.errors import UsageError
from explicitlm.common.files import sha256
from explicitlm.pipeline import train as stage
from explicitlm.pipeline.command import training_arguments
from explicitlm.pipeline.supervise import run_logged
from explicitlm.records.manifest import Manifest, Result, load_sealed
from explicitlm.vcs.pipeline_file import PipelineFile
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)

LOCK = ".explicitlm/training.lock"  # in the tree; released by the system when its holder dies


def train(experiment: str) -> int:
    """Trains an experiment that `pre` prepared, in its tree.

    Returns:
        the exit code of the train stage: 0, 5 (failed) or 130 (interrupted).

    Raises:
        DataError: what is here is not what was sent. UsageError: it is not here at all.
    """
    tree = trees.training_tree(experiment)
    sent = receipt.load_sent(tree)
    receipt.check_imports(tree, sent)
    _use_the_code_of(tree, experiment)
    os.chdir(tree)
    if _is_done(tree):
        logger.info(f"{experiment} is trained and sealed already: {tree / layout.RETURNED}")
        return 0
    receipt.check_sent(tree, sent)
    logger.info(f"checked: {len(sent.files)} files are as they were sent")
    node = SCHEDULER.own_node(os.environ)
    os.environ["DVC_ROOT"] = str(tree)  # here the tree is the whole project
    resumed = any((tree / layout.run_dir(experiment) / "states").glob("step-*"))
    os.environ.pop(RESUME, None)
    if resumed:
        os.environ[RESUME] = "1"
        logger.info("continuing from the last resume state")
    if node is not None:
        os.environ.update(node.environment(tree / layout.run_dir(experiment)))
        if node.rank:
            return _assist(tree, experiment, node, resumed)
    try:
        with FileLock(tree / LOCK, blocking=False):
            return _train_and_seal(tree, experiment)
    except Timeout:
        log = shlex.quote(str(tree / layout.log(experiment)))
        raise UsageError(f"{experiment} trains here already ({tree})", f"tail -f {log}") from None


def _train_and_seal(tree: Path, experiment: str) -> int:
    again = f"explicitlm cluster train {experiment}"
    _clear(tree)
    code = stage.main(resume_command=again)
    result = load_sealed(tree / layout.RESULT, Result, again)
    returned = receipt.seal_returned(tree, experiment, result.status)
    size = sum(seal.size for seal in returned.files.values())
    logger.info(f"sealed: {result.status}, {len(returned.files)} files, {size / 1e6:.1f} MB")
    return code


def _use_the_code_of(tree: Path, experiment: str) -> None:
    """Starts anew with the code that was sent, whatever `explicitlm` the node has installed."""
    source = tree / "src"
    if Path(explicitlm.__file__).resolve().parents[1] == source.resolve():
        return
    os.chdir(tree)
    args = [sys.executable, "-m", "explicitlm", "cluster", "train", experiment]
    sys.stdout.flush()
    here = {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}  # nothing but what was sent lies there
    os.execve(sys.executable, args, os.environ | here)  # noqa: S606 - this process becomes it


def _is_done(tree: Path) -> bool:
    try:
        returned = load_sealed(tree / layout.RETURNED, receipt.Returned, "")
    except UsageError:
        return False
    return returned.status == "finished" and returned.sent == sha256((tree / layout.SENT).read_bytes())


def _clear(tree: Path) -> None:
    """Removes what an earlier try left, as DVC does before it runs a stage."""
    for path in (tree / layout.RETURNED, *(tree / name for name in PipelineFile(tree).outputs("train"))):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def _assist(tree: Path, experiment: str, node: Node, resumed: bool) -> int:
    """What all nodes but the first do: their processes of the same training."""
    workspace = Workspace(tree, tree)
    manifest = load_sealed(workspace.workdir / layout.MANIFEST, Manifest, "explicitlm cluster push, on the login node")
    args = training_arguments(manifest.hyperparameters) + (["--resume"] if resumed else [])
    log = tree / "logs" / f"{experiment}.node{node.rank}.log"
    environment = stage.environment(manifest, workspace.run_dir(experiment))
    outcome = run_logged(args, log, environment, layout.TRAINING_SCRIPT, append=resumed)
    return outcome.exit_code if outcome.exit_code >= 0 else 128 - outcome.exit_code
