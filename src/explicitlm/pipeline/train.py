"""Stage 2, `python -m explicitlm.pipeline.train`: run the training command, and say truthfully how it ended.

Works without git and without network: on a compute node it needs only the files that train declares and the manifest.
It imports no torch; the training is a process of its own and leaves reports in the run's folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from explicitlm.common import layout, logs
from explicitlm.common.aside import put_aside, put_away
from explicitlm.common.clock import now
from explicitlm.common.environment import DESCRIPTION, RESUME, RUN_DIR, RUN_ID
from explicitlm.common.errors import (
    INTERRUPTED,
    DataError,
    ExplicitLMError,
    TrainingError,
    UsageError,
    report,
    run_reporting,
)
from explicitlm.common.interrupts import leave
from explicitlm.datasets.table import DATASETS
from explicitlm.pipeline import identity
from explicitlm.pipeline.command import training_arguments, training_command
from explicitlm.pipeline.data_seen import changed_data, data_seen, sealed_data
from explicitlm.pipeline.params import read_params
from explicitlm.pipeline.supervise import Outcome, run_logged
from explicitlm.records.manifest import Manifest, Result, Status, load_sealed, save_sealed
from explicitlm.vcs import owners
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def main(resume_command: str | None = None) -> int:
    """Runs the stage for the tree in the current directory.

    Args:
        resume_command: the command that continues this training from its last state, where it is not the usual one.
    """
    workspace = Workspace.of_stage()
    manifest = load_sealed(workspace.workdir / layout.MANIFEST, Manifest, "dvc repro sync_data")
    config = read_params(workspace).train
    run_dir = workspace.run_dir(manifest.id)
    owners.join(workspace.main, manifest.id, owners.runner())
    resumed = bool(os.environ.get(RESUME)) and workspace.has_states(manifest.id)
    _check_start(workspace, manifest, training_command(config), resumed)
    data = sealed_data(workspace, manifest.id)
    if not resumed:
        shutil.rmtree(run_dir / layout.STATES, ignore_errors=True)
    for name in layout.REPORTS:
        (run_dir / name).unlink(missing_ok=True)
    args = training_arguments(config) + (["--resume"] if resumed else [])
    started_at, clock = now(), time.monotonic()
    logger.info(f"{manifest.id}: {training_command(config)}")
    logger.info(f"log: {workspace.log(manifest.id)}")
    outcome = run_logged(
        args, workspace.log(manifest.id), environment(manifest, run_dir), layout.TRAINING_SCRIPT, append=resumed
    )
    # The launcher hides the true exit code (with one process any failure becomes 1); the training reports it.
    reported = _report(run_dir / "status.json", {})
    exit_code = outcome.exit_code if reported.get("exit_code") is None else reported["exit_code"]
    status, error = _judge(workspace, outcome, reported)
    if outcome.log_error:
        logger.warning(f"lines are missing in {workspace.log(manifest.id)}: {outcome.log_error}")
    inputs = _report(run_dir / "inputs.json", [])
    knowledge = _report(run_dir / "knowledge.json", {})
    result = Result(
        experiment=manifest.id,
        status=status,
        exit_code=exit_code,
        signal=None if status == "finished" else outcome.signal or reported.get("signal"),
        error=error,
        started_at=started_at,
        finished_at=now(),
        duration_s=round(time.monotonic() - clock, 3),
        command=training_command(config),
        seed=config.seed,
        metrics=_report(workspace.workdir / layout.METRICS, {}) if status == "finished" else {},
        environment=_report(run_dir / "environment.json", {}),
        tracker=_report(run_dir / "tracker.json", {}),
        usage=_report(run_dir / "usage.json", {}),
        changed_during_run=[*_changed(workspace, manifest), *changed_data(data, data_seen(workspace))],
        inputs=inputs,
        undeclared=undeclared(workspace, inputs),
        facts_left_out=knowledge.get("left_out", 0),
        facts_cut=knowledge.get("cut", 0),
    )
    save_sealed(workspace.workdir / layout.RESULT, result)
    if status == "finished":
        _findings(result)
        return 0
    from explicitlm.records import build, store  # 0.02 s, which a training that ends well need not pay

    store.save(workspace.main, build.unfinished(manifest, result))
    return _fail(workspace, result, resume_command or _resume_command(workspace, manifest.id))


def _check_start(workspace: Workspace, manifest: Manifest, command: str, resumed: bool) -> None:
    """Checks that this training is the one that was sealed, and begins over nothing that another one left.

    Raises:
        UsageError: params.yaml is another one; or there are states of an interrupted training.
    """
    if command != manifest.command:
        raise UsageError(f"params.yaml was changed after {manifest.id} was sealed: it would train something else",
                         "git diff -- params.yaml shows what it says now; the same command again trains that "
                         "(nothing was trained yet)")  # fmt: skip
    reported = _report(workspace.run_dir(manifest.id) / "status.json", {})
    if not resumed and workspace.has_states(manifest.id) and reported.get("status") != "done":
        raise UsageError(
            f"{manifest.id} was interrupted and left a state to continue from",
            f"{_resume_command(workspace, manifest.id)}; "
            f"to give it up: {put_away(f'{layout.run_dir(manifest.id)}/{layout.STATES}', workspace.main)}",
        )


def environment(manifest: Manifest, run_dir: Path) -> dict[str, str]:
    """What belongs to this run and not to its reproducible command goes by the environment."""
    here = str(Path(sys.executable).parent)  # the training must use this interpreter's accelerate
    return os.environ | {
        "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}",
        RUN_ID: manifest.id,
        DESCRIPTION: manifest.description,
        RUN_DIR: str(run_dir),
        "PYTHONUNBUFFERED": "1",  # lines reach the log when they are said
    }


def _judge(workspace: Workspace, outcome: Outcome, reported: dict[str, Any]) -> tuple[Status, str | None]:
    """Finished means: a whole checkpoint, and the training said that it was done or ended with exit code 0."""
    if outcome.exit_code == 0 or reported.get("status") == "done":
        missing = [
            name for name in layout.CHECKPOINT_FILES if not (workspace.workdir / layout.CHECKPOINT / name).is_file()
        ]
        if not missing:
            return "finished", None
        return "failed", f"the training ended without {', '.join(missing)} in {layout.CHECKPOINT}"
    tail = "\n".join(outcome.tail)
    if signal := outcome.signal or reported.get("signal"):
        return "interrupted", f"interrupted by {signal}\n{tail}"
    if reported.get("status") == "running":  # it had no time to say anything: SIGKILL, out of memory
        return "failed", f"the training was killed while it ran (out of memory?)\n{tail}"
    return "failed", f"{reported.get('error') or f'exit code {outcome.exit_code}'}\n{tail}"


def _changed(workspace: Workspace, manifest: Manifest) -> list[str]:
    """Code and parameters that are not what was sealed: DVC alone would record the new ones as if they had run."""
    sealed = manifest.code.files
    now = identity.code_digests(workspace)
    changed = sorted(name for name in sealed.keys() | now.keys() if sealed.get(name) != now.get(name))
    try:
        same = training_command(read_params(workspace).train) == manifest.command
    except ExplicitLMError:
        same = False
    return changed if same else [*changed, layout.PARAMS]


def undeclared(workspace: Workspace, inputs: list[str]) -> list[str]:
    """Inputs that neither train's deps in dvc.yaml nor the versioned datasets cover."""
    declared = [*workspace.pipeline.deps("train"), *(dataset.path for dataset in DATASETS)]
    return [
        name
        for name in inputs
        if not any(name == dep or name.startswith(f"{dep}/") for dep in declared)
        and (workspace.workdir / name)
        .stat()
        .st_size  # an empty file, such as src/explicitlm/__init__.py, changes nothing
    ]


def _report(path: Path, default: Any) -> Any:
    """A report of the training, if it lived long enough to write it (reports are written atomically)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON ({error})", f"{put_aside(str(path))}, then the same command"
        ) from None


def _findings(result: Result) -> None:
    if result.undeclared:
        logger.warning(f"read but not declared in dvc.yaml: {', '.join(result.undeclared)}")
    if result.changed_during_run:
        logger.warning(f"changed while it ran: {', '.join(result.changed_during_run)}")
    if result.facts_left_out or result.facts_cut:
        logger.warning(f"facts that are not whole in the memory bank: {result.facts_left_out:,} left out "
                       f"(knowledge_num), {result.facts_cut:,} cut (knowledge_length)")  # fmt: skip


def _resume_command(workspace: Workspace, experiment: str) -> str:
    """`explicitlm run` needs git; without it, as on a compute node, the stage itself is started again."""
    if (workspace.main / ".git").exists():
        return f"explicitlm run {experiment} --resume"
    return f"{RESUME}=1 dvc repro --single-item train"


def _fail(workspace: Workspace, result: Result, resume_command: str) -> int:
    kept = f"record: {layout.record(result.experiment)}, log: {workspace.log(result.experiment)}"
    begins = " (begins again, it left no state), or take a new id"
    if workspace.has_states(result.experiment):
        begins = " (with the same parameters, once the cause is mended; others need a new id)"
    if result.status == "interrupted":
        report(ExplicitLMError(f"{result.experiment} was interrupted by {result.signal} ({kept})", resume_command))
        return INTERRUPTED
    cause = (result.error or "").splitlines()[0]
    report(TrainingError(f"{result.experiment} failed: {cause} ({kept})", f"{resume_command}{begins}"))
    return TrainingError.exit_code


def _stage() -> int:
    logs.set_up("[train] ")
    return main()


if __name__ == "__main__":
    leave(run_reporting(_stage))
