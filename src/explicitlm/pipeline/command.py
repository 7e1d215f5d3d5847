"""The training command: the one that train runs is the one that a record shows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import dump


def training_arguments(config: TrainConfig) -> list[str]:
    """The command for checked hyperparameters."""
    return arguments_of(dump(config))


def arguments_of(values: Mapping[str, Any]) -> list[str]:
    """`accelerate launch 1_pretrain.py --epochs 10 ...`, every hyperparameter by its long option.

    All of them are named, also those at their defaults: the command must mean the same when defaults have changed.
    """
    args = ["accelerate", "launch", "1_pretrain.py"]
    for name, value in values.items():
        if isinstance(value, bool):
            args.append(f"--{name}" if value else f"--no-{name}")
        else:
            args += [f"--{name}", str(value)]
    return args


def training_command(config: TrainConfig) -> str:
    """The same as one line for a shell."""
    return shlex.join(training_arguments(config))
