"""The command in the record is the command that ran, and says everything."""

from __future__ import annotations

import shlex

from explicitlm.lm.config import TrainConfig
from explicitlm.pipeline.command import training_arguments, training_command


def test_every_hyperparameter_is_named() -> None:
    words = training_arguments(TrainConfig())
    assert words[:3] == ["accelerate", "launch", "1_pretrain.py"]
    named = {word.removeprefix("--").removeprefix("no-") for word in words if word.startswith("--")}
    assert named == set(TrainConfig.__struct_fields__)


def test_switches_and_empty_texts() -> None:
    command = training_command(TrainConfig(use_swanlab=True, use_ema_update=False, learning_rate=1e-4))
    words = shlex.split(command)
    assert "--use_swanlab" in words and "--no-use_ema_update" in words
    assert words[words.index("--swanlab_workspace") + 1] == ""
    assert float(words[words.index("--learning_rate") + 1]) == 1e-4
