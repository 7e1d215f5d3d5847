"""The command line as a process: help without torch, errors without tracebacks, signals with their codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import fields

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.training.cli import build_parser, parse

ROOT = Path(__file__).parents[3]


def test_every_field_is_an_option_with_its_words_and_default() -> None:
    """Looked for in each option's own help, not just anywhere in the text."""
    options = {action.dest: action for action in build_parser()._actions}
    for field in fields(TrainConfig):
        option = options[field.name]
        assert option.option_strings[0] == f"--{field.name}"
        assert option.help is not None
        words, default = option.help.replace("%%", "%").rsplit(" (default: ", 1)
        assert words == get_args(field.type)[1].description
        assert default == f"{field.default!r})" if field.default == "" else f"{field.default})"


def test_values_keep_their_types(world: Path) -> None:
    config, paths = parse(
        ["--learning_rate", "1", "--epochs", "4", "--use_swanlab", "--no-use_ema_update", "--mixed_precision", "bf16"]
    )
    assert config == TrainConfig(
        learning_rate=1.0, epochs=4, use_swanlab=True, use_ema_update=False, mixed_precision="bf16"
    )
    assert paths.database_init is not None and paths.cache is None and not paths.resume


def test_help_needs_no_torch() -> None:
    program = (
        "import sys; sys.argv = ['1_pretrain.py', '--help']; import runpy; runpy.run_path({!r}, run_name='__main__')"
    )
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {program}"
    output = subprocess.run(
        [sys.executable, "-c", code.format(str(ROOT / "1_pretrain.py"))], capture_output=True, text=True, check=True
    ).stdout
    assert "--knowledge_num" in output and output.endswith("False\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--knowledge_num", "1000"], 2, "error: the command line: knowledge_num=1000 is not a perfect square"),
        (["--epochs", "0"], 2, "error: the command line: epochs=0"),
        (["--epochs", "two"], 2, "invalid int value: 'two'"),
        (["--unknown", "1"], 2, "unrecognized arguments: --unknown 1"),
        (["--dataset_path", "nowhere"], 3, "error: the training data is missing: nowhere does not exist"),
        (["--resume"], 2, "error: there is no state to resume in"),
    ],
)
def test_mistakes_get_a_message_and_leave_nothing(processes: Any, words: list[str], code: int, message: str) -> None:
    output = processes.run(*words, expect=code)
    assert message in output and "Traceback" not in output
    assert not (processes.folder / "checkpoints").exists()


def test_broken_lines_are_named_before_anything_is_made(processes: Any) -> None:
    with (processes.folder / "data/benchmarks/items.jsonl").open("a") as file:
        file.write('{"prompt": "no task"}\n')
    assert "items.jsonl, line 35" in processes.run(expect=3)
    assert json.loads((processes.folder / ".explicitlm/runs/local/status.json").read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "launcher"),
    [
        (signal.SIGTERM, [sys.executable]),
        (signal.SIGUSR1, [sys.executable]),
        (signal.SIGINT, [sys.executable, "-m", "accelerate.commands.launch"]),
    ],
)
def test_a_signal_saves_and_tells_its_code(processes: Any, number: signal.Signals, launcher: list[str]) -> None:
    process = processes.start(epochs=500, save_interval=100_000, launcher=launcher)
    folder = processes.folder / ".explicitlm/runs/local"
    for line in process.stdout:
        if line.startswith("step 4/"):
            processes.tell(json.loads((folder / "status.json").read_text())["pid"], number)
            break
    output, _ = process.communicate()
    assert process.returncode == (128 + number if len(launcher) == 1 else 1)
    assert f"interrupted by {number.name}" in output
    status = json.loads((folder / "status.json").read_text())
    assert (status["status"], status["exit_code"], status["signal"]) == ("interrupted", 128 + number, number.name)
    assert len(list((folder / "states").iterdir())) == 1
    assert not (processes.folder / "checkpoints").exists()


@pytest.mark.slow
def test_the_death_of_the_launcher_is_a_signal_too(processes: Any) -> None:
    """`accelerate launch` forwards nothing: killed, it would leave the training running alone."""
    process = processes.start(
        epochs=500, save_interval=100_000, launcher=[sys.executable, "-m", "accelerate.commands.launch"]
    )
    for line in process.stdout:
        if line.startswith("step 4/"):
            process.send_signal(signal.SIGKILL)
            break
    output = process.stdout.read()  # ends when the training has closed it
    assert "interrupted by SIGTERM" in output
    status = json.loads((processes.folder / ".explicitlm/runs/local/status.json").read_text())
    assert status["exit_code"] == 143
    process.wait()


def test_reports_name_machine_and_inputs(processes: Any) -> None:
    code = processes.folder / "src/helper.py"
    code.parent.mkdir()
    code.write_text("VALUE = 1\n")
    (processes.folder / "sitecustomize.py").write_text("import helper\n")
    processes.environment["PYTHONPATH"] = os.pathsep.join([str(processes.folder), str(code.parent)])
    processes.run(epochs=1)
    folder = processes.folder / ".explicitlm/runs/local"
    assert json.loads((folder / "inputs.json").read_text()) == [
        "data/benchmarks/items.jsonl",
        "data/database/text.jsonl",
        "data/knowledge_base/facts.json",
        "sitecustomize.py",
        "src/helper.py",
    ]
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seed"] == 1337 and environment["world_size"] == 1 and environment["num_threads"] == 1
    assert {"torch", "accelerate", "tokenizers"} <= set(environment["packages"])
