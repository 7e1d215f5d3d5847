"""Stage 2, `python -m explicitlm.pipeline.train`: run the training command, and say truthfully how it ended.

Works without git and without network: on a compute node it needs only the files that train declares and the manifest.
It imports no torch; the training is a process of its own and leaves reports in the run's folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from explicitlm.errors import INTERRUPTED, DataError, ExplicitLMError, TrainingError, report, run_reporting
from explicitlm.pipeline import identity
from explicitlm.pipeline.command import training_arguments, training_command
from explicitlm.pipeline.supervise import Outcome, run_logged
from explicitlm.pipeline.sync_data import RESUME
from explicitlm.project import CHECKPOINT, DATASETS, Project
from explicitlm.records import build, handover, store
from explicitlm.records.handover import Manifest, Result, Status

SCRIPT = "1_pretrain.py"
REPORTS = ("status.json", "environment.json", "tracker.json", "inputs.json")  # of explicitlm.training.reports
CHECKPOINT_FILES = ("model.safetensors", "config.json", "tokenizer.json")


def main(go_on: str | None = None) -> int:
    """Runs the stage for the tree in the current directory.

    Args:
        go_on: the command that continues this training from its last state, where it is not the usual one.
    """
    project = Project.of_stage()
    manifest = handover.load(project.manifest, Manifest, "dvc repro sync_data")
    config = project.params().train
    run_dir = project.run_dir(manifest.id)
    resumed = bool(os.environ.get(RESUME)) and any((run_dir / "states").glob("step-*"))
    if not resumed:
        shutil.rmtree(run_dir / "states", ignore_errors=True)
    for name in REPORTS:
        (run_dir / name).unlink(missing_ok=True)
    words = training_arguments(config) + (["--resume"] if resumed else [])
    started_at, clock = identity.now(), time.monotonic()
    print(f"[train] {manifest.id}: {training_command(config)}", flush=True)
    print(f"[train] log: {project.log(manifest.id)}", flush=True)
    outcome = run_logged(words, project.log(manifest.id), environment(manifest, run_dir), SCRIPT, append=resumed)
    # The launcher hides the true exit code (with one process any failure becomes 1); the training reports it.
    told = _report(run_dir / "status.json", {})
    exit_code = told.get("exit_code") or outcome.exit_code
    status, error = _judge(project, outcome, told)
    inputs = _report(run_dir / "inputs.json", [])
    result = Result(
        experiment=manifest.id,
        status=status,
        exit_code=exit_code,
        signal=outcome.signal or told.get("signal"),
        error=error,
        started_at=started_at,
        finished_at=identity.now(),
        duration_s=round(time.monotonic() - clock, 3),
        command=training_command(config),
        seed=config.seed,
        metrics=_report(project.tree / "experiments/run/metrics.json", {}) if status == "finished" else {},
        environment=_report(run_dir / "environment.json", {}),
        tracker=_report(run_dir / "tracker.json", {}),
        changed_during_run=_changed(project, manifest),
        inputs=inputs,
        undeclared=undeclared(project, inputs),
    )
    handover.save(project.result, result)
    if status == "finished":
        _findings(result)
        return 0
    store.save(project.main, build.unfinished(manifest, result))
    return _fail(project, result, go_on or _usual_way_on(project, manifest.id))


def environment(manifest: Manifest, run_dir: Path) -> dict[str, str]:
    """What belongs to this run and not to its reproducible command goes by the environment."""
    here = str(Path(sys.executable).parent)  # the training must use this interpreter's accelerate
    return os.environ | {
        "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}",
        "EXPLICITLM_RUN_ID": manifest.id,
        "EXPLICITLM_DESCRIPTION": manifest.description,
        "EXPLICITLM_RUN_DIR": str(run_dir),
        "PYTHONUNBUFFERED": "1",  # lines reach the log when they are said
    }


def _judge(project: Project, outcome: Outcome, told: dict[str, Any]) -> tuple[Status, str | None]:
    """Finished means: exit code 0 and a whole checkpoint."""
    if outcome.exit_code == 0:
        missing = [name for name in CHECKPOINT_FILES if not (project.tree / CHECKPOINT / name).is_file()]
        if not missing:
            return "finished", None
        return "failed", f"the training ended without {', '.join(missing)} in {CHECKPOINT}"
    tail = "\n".join(outcome.tail)
    if signal := outcome.signal or told.get("signal"):
        return "interrupted", f"interrupted by {signal}\n{tail}"
    if told.get("status") == "running":  # it had no time to say anything: SIGKILL, out of memory
        return "failed", f"the training was killed while it ran (out of memory?)\n{tail}"
    return "failed", f"{told.get('error') or f'exit code {outcome.exit_code}'}\n{tail}"


def _changed(project: Project, manifest: Manifest) -> list[str]:
    """Code files that are not what the manifest sealed: DVC alone would record the new ones as if they had run."""
    sealed = manifest.code.files
    now = identity.code_digests(project)
    return sorted(name for name in sealed.keys() | now.keys() if sealed.get(name) != now.get(name))


def undeclared(project: Project, inputs: list[str]) -> list[str]:
    """Inputs that neither train's deps in dvc.yaml nor the versioned datasets cover."""
    declared = [*project.train_deps(), *(dataset.path for dataset in DATASETS)]
    return [name for name in inputs if not any(name == dep or name.startswith(f"{dep}/") for dep in declared)]


def _report(path: Path, default: Any) -> Any:
    """A report of the training, if it lived long enough to write it (reports are written atomically)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is no valid JSON ({error})", "remove it, then the same command") from None


def _findings(result: Result) -> None:
    if result.undeclared:
        print(f"[train] WARNING: read but not declared in dvc.yaml: {', '.join(result.undeclared)}", flush=True)
    if result.changed_during_run:
        print(f"[train] WARNING: changed while it ran: {', '.join(result.changed_during_run)}", flush=True)


def _usual_way_on(project: Project, experiment: str) -> str:
    """`explicitlm run` needs git; without it, as on a compute node, the stage itself is started again."""
    if (project.main / ".git").exists():
        return f"explicitlm run {experiment} --resume"
    return f"{RESUME}=1 dvc repro --single-item train"


def _fail(project: Project, result: Result, go_on: str) -> int:
    kept = f"record: experiments/records/{result.experiment}.json, log: {project.log(result.experiment)}"
    states = any((project.run_dir(result.experiment) / "states").glob("step-*"))
    resume = go_on if states else "a new id when the cause is mended"
    if result.status == "interrupted":
        report(ExplicitLMError(f"{result.experiment} was interrupted by {result.signal} ({kept})", resume))
        return INTERRUPTED
    cause = (result.error or "").splitlines()[0]
    report(TrainingError(f"{result.experiment} failed: {cause} ({kept})", resume))
    return TrainingError.exit_code


if __name__ == "__main__":
    sys.exit(run_reporting(main))
