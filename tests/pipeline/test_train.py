"""How the train stage begins, and how it judges what it started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from explicitlm.common import layout
from explicitlm.pipeline.supervise import Outcome
from explicitlm.pipeline.train import _judge
from explicitlm.vcs.workspace import Workspace

DONE, RUNNING = {"status": "done", "exit_code": 0}, {"status": "running"}


@pytest.mark.parametrize(
    ("outcome", "told", "whole", "status", "words"),
    [
        (Outcome(0), {}, True, "finished", None),
        (Outcome(0), DONE, True, "finished", None),
        (Outcome(-9), DONE, True, "finished", None),  # killed after it had said "done"
        (Outcome(143, signal="SIGTERM"), DONE, True, "finished", None),
        (Outcome(1, signal="SIGHUP"), DONE, True, "finished", None),
        (Outcome(0), DONE, False, "failed", "without model.safetensors"),
        (Outcome(143, signal="SIGTERM"), RUNNING, True, "interrupted", "interrupted by SIGTERM"),
        (Outcome(1), {"status": "interrupted", "signal": "SIGUSR1"}, False, "interrupted", "interrupted by SIGUSR1"),
        (Outcome(-9), RUNNING, True, "failed", "killed while it ran"),
        (Outcome(1), {"status": "failed", "error": "the loss is nan"}, True, "failed", "the loss is nan"),
        (Outcome(2), {}, True, "failed", "exit code 2"),
    ],
)
def test_how_a_training_ended(
    tmp_path: Path, outcome: Outcome, told: dict[str, Any], whole: bool, status: str, words: str | None
) -> None:
    (tmp_path / layout.CHECKPOINT).mkdir(parents=True)
    for name in layout.CHECKPOINT_FILES if whole else layout.CHECKPOINT_FILES[1:]:
        (tmp_path / layout.CHECKPOINT / name).write_text("")
    found, error = _judge(Workspace(tmp_path, tmp_path), outcome, told)
    assert found == status and (error is None if words is None else words in (error or ""))


@pytest.mark.slow
def test_parameters_that_were_edited_meanwhile_are_not_trained(quick) -> None:
    quick.run("python", "-m", "explicitlm.pipeline.sync_data", DVC_EXP_NAME="x")
    quick.set_params(seed=5)
    done = quick.run("python", "-m", "explicitlm.pipeline.train", DVC_EXP_NAME="x", check=False)
    assert done.returncode == 2 and "params.yaml was changed after x was sealed" in done.stderr
    hint = done.stderr.split("  next: ")[1]
    assert "seed: 5" in quick.shell(hint.split(" shows")[0]).stdout
    quick.run("python", "-m", "explicitlm.pipeline.sync_data", DVC_EXP_NAME="x")
    quick.run("python", "-m", "explicitlm.pipeline.train", DVC_EXP_NAME="x")
    assert (quick.root / layout.CHECKPOINT / "model.safetensors").exists()
