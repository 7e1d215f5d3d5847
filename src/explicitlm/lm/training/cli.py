"""The command line of 1_pretrain.py: one long option for every field of TrainConfig, and where things are.

Nothing here imports torch, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

from explicitlm.common.errors import ExplicitLMError, run_reporting
from explicitlm.lm.config import TrainConfig, parse_train_config
from explicitlm.lm.training.run_paths import INPUTS, OPTIONAL, OUTPUTS, RunPaths

_EXAMPLES = """examples:
  accelerate launch 1_pretrain.py --epochs 10 --dim 512 --n_layers 8 --use_swanlab
  accelerate launch 1_pretrain.py --epochs 10 --dim 512 --n_layers 8 --use_swanlab --resume
  accelerate launch --multi_gpu --num_processes 2 1_pretrain.py --batch_size 24   # two processes, also on CPU

environment: EXPLICITLM_RUN_DIR (resume states and reports; default .explicitlm/runs/<id>),
EXPLICITLM_RUN_ID, EXPLICITLM_DESCRIPTION (name and description for SwanLab), EXPLICITLM_NUM_THREADS (CPU).
SIGINT, SIGTERM and SIGUSR1 save a resume state; the exit code is then 130, 143 or 138."""

_BUILTIN: dict[type[inspect.Type], type] = {inspect.IntType: int, inspect.FloatType: float, inspect.StrType: str}


def build_parser() -> argparse.ArgumentParser:
    """One option a hyperparameter, with its description, default and type from `TrainConfig`."""
    parser = argparse.ArgumentParser(
        prog="1_pretrain.py",
        description="Train ExplicitLM. Options are the keys of params.yaml.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("hyperparameters")
    told = inspect.type_info(TrainConfig)
    assert isinstance(told, inspect.StructType)
    for field in told.fields:
        _add_field(group, field)
    group = parser.add_argument_group("where things are")
    for name, (default, text) in {**INPUTS, **OUTPUTS}.items():
        note = "; used if present" if name in OPTIONAL else ""
        group.add_argument(f"--{name}", metavar="PATH", help=f"{text} (default: {default}{note})")
    group.add_argument("--resume", action="store_true", help="continue from the last good state of this run")
    group.add_argument(
        "--stop_after",
        type=int,
        metavar="STEPS",
        help="end after so many optimizer steps, without a checkpoint; what is trained until then is not changed by it",
    )
    return parser


def _add_field(group: argparse._ArgumentGroup, field: inspect.Field) -> None:
    """An option for one field; its absence is told apart from its default by SUPPRESS."""
    assert isinstance(field.type, inspect.Metadata) and field.type.extra_json_schema
    kind, name = field.type.type, field.name
    text = f"{field.type.extra_json_schema['description']} (default: {_shown(field.default)})".replace("%", "%%")
    common: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
    if isinstance(kind, inspect.BoolType):
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, **common)
    elif isinstance(kind, inspect.LiteralType):
        group.add_argument(f"--{name}", choices=kind.values, **common)
    else:
        builtin = _BUILTIN[type(kind)]
        group.add_argument(f"--{name}", type=builtin, metavar=builtin.__name__.upper(), **common)


def _shown(default: Any) -> str:
    return repr(default) if default == "" else str(default)


def parse(argv: Sequence[str]) -> tuple[TrainConfig, RunPaths]:
    """Hyperparameters and paths of a command line.

    Raises:
        ConfigError: a value out of range.
        DataError: an optional path that was given does not exist.
        SystemExit: unknown option, wrong type, or --help (argparse).
    """
    values = vars(build_parser().parse_args(argv))
    options = {name: values.pop(name) for name in (*INPUTS, *OUTPUTS)}
    resume, stop_after = values.pop("resume"), values.pop("stop_after")
    return parse_train_config(values, "the command line"), RunPaths.of(options, resume, stop_after)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a training and returns its exit code. Of several processes the first one reports an error in full."""
    arguments = sys.argv[1:] if argv is None else argv
    rank = os.environ.get("LOCAL_RANK", "0")
    if rank == "0":
        return run_reporting(lambda: _train(arguments))
    try:
        return _train(arguments)
    except ExplicitLMError as error:
        print(f"process {rank}: {error.cause}", file=sys.stderr)
        return error.exit_code


def _train(argv: Sequence[str]) -> int:
    config, paths = parse(argv)
    # Threads that wait should sleep: spinning, two trainings on two cores took 5.1 s a step instead of 0.9 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is loaded
    from explicitlm.lm.training.run import run  # imports torch

    return run(config, paths)
