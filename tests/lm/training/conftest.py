"""A tiny world to train on, trainings in this process and trainings as real processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from processes import AS_FROM_A_TERMINAL

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.training.run import Session
from explicitlm.lm.training.run_paths import INPUTS, RunPaths
from explicitlm.lm.training.signals import SignalHandler

ROOT = Path(__file__).parents[3]
SCRIPT = str(ROOT / "1_pretrain.py")
TINY: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 4,
    "accumulation_steps": 2,
    "learning_rate": 3e-3,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "vocab_size": 300,
    "max_seq_len": 32,
    "knowledge_num": 256,
    "knowledge_length": 8,
    "knowledge_dim": 16,
    "num_candidates": 4,
    "ema_update_freq": 2,
    "log_interval": 2,
    "save_interval": 3,
    "digest_interval": 3,
}
FIRST = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal")
CITIES = ("Rome", "Oslo", "Lima", "Cairo")


def write_world(folder: Path, documents: int = 150, seed: int = 5) -> None:
    """data/ with text, items of the three tasks and a knowledge base."""
    draw = random.Random(seed)
    home = {name: draw.choice(CITIES) for name in FIRST}
    lines = [
        {"text": " ".join(f"{name} lives in {home[name]}." for name in draw.sample(FIRST, 5))} for _ in range(documents)
    ]
    items = []
    for name in FIRST:
        right = CITIES.index(home[name])
        base = {"uuid": f"id-{name}"}
        items.append(
            {"task": "object_prediction", **base, "prompt": f"{name} lives in", "choices": CITIES, "answer": right}
        )
        items.append(
            {
                "task": "relation_reasoning",
                **base,
                "prompt": f"{home[name]} is to {name} its",
                "choices": ["home", "job"],
                "answer": 0,
            }
        )
        items.append(
            {
                "task": "fact_verification",
                **base,
                "prompt": f"{name} lives in Rome. True or false?",
                "choices": ["true", "false"],
                "answer": int(home[name] != "Rome"),
            }
        )
    facts = [
        {
            "target": [
                {
                    "sentence": f"{name} lives in {home[name]}.",
                    "uuid": f"id-{name}",
                    "subject": name,
                    "predicate": "home",
                    "object": home[name],
                }
            ]
        }
        for name in FIRST
    ]
    for sub, name, content in (
        ("database", "text.jsonl", lines),
        ("benchmarks", "items.jsonl", [*items, *lines[:10]]),
    ):
        (folder / "data" / sub).mkdir(parents=True)
        (folder / "data" / sub / name).write_text("".join(json.dumps(line) + "\n" for line in content))
    (folder / "data/knowledge_base").mkdir()
    (folder / "data/knowledge_base/facts.json").write_text(json.dumps(facts))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny data, which becomes the current directory."""
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class StopAfter(SignalHandler):
    """A signal that arrives when the loop asks for the n-th time."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    @property
    def signum(self) -> int:
        self._left -= 1
        return signal.SIGTERM if self._left < 0 else 0

    @signum.setter
    def signum(self, value: int) -> None:
        pass


@dataclass
class InProcess:
    """Trainings in this process: seconds faster than a new one each."""

    folder: Path

    def config(self, **changes: Any) -> TrainConfig:
        return TrainConfig(**{**TINY, **changes})

    def paths(self, name: str, resume: bool = False, paths: Mapping[str, str] | None = None) -> RunPaths:
        options: dict[str, str | None] = dict.fromkeys(INPUTS)
        options |= {"out_dir": f"out/{name}", "metrics_dir": f"metrics/{name}", **(paths or {})}
        os.environ["EXPLICITLM_RUN_DIR"] = f"runs/{name}"
        try:
            return RunPaths.of(options, resume)
        finally:
            del os.environ["EXPLICITLM_RUN_DIR"]

    def train(
        self,
        name: str = "run",
        resume: bool = False,
        stop: SignalHandler | None = None,
        paths: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> RunPaths:
        """Trains to the end, or raises Interrupted."""
        AcceleratorState._reset_state(reset_partial_state=True)
        run_paths = self.paths(name, resume, paths)
        session = Session(self.config(**changes), run_paths, stop or SignalHandler(), rank=0)
        try:
            session.train()
        finally:
            session.finish("success", None)
        return run_paths


@pytest.fixture
def in_process(world: Path) -> Iterator[InProcess]:
    os.environ["EXPLICITLM_NUM_THREADS"] = "1"
    yield InProcess(world)
    del os.environ["EXPLICITLM_NUM_THREADS"]
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.use_deterministic_algorithms(False)


def options_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings as command line words."""
    words = []
    for name, value in settings.items():
        words += [f"--{name}" if value else f"--no-{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    return words


@dataclass
class Processes:
    """Trainings as users start them."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(
        self, *words: str, launcher: Sequence[str] = (sys.executable,), hash_seed: str = "0", **changes: Any
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*AS_FROM_A_TERMINAL, *launcher, SCRIPT, *options_of({**TINY, **changes}), *words],
            cwd=self.folder,
            env={**os.environ, "EXPLICITLM_NUM_THREADS": "1", "PYTHONHASHSEED": hash_seed, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, expect: int = 0, **changes: Any) -> str:
        process = self.start(*words, **changes)
        output, _ = process.communicate()
        assert process.returncode == expect, output
        return output

    def tell(self, pid: int, number: int = signal.SIGTERM) -> None:
        os.kill(pid, number)


@pytest.fixture
def processes(world: Path) -> Processes:
    return Processes(world)


@pytest.fixture
def small(in_process: InProcess) -> InProcess:
    """Trainings of five optimizer steps."""
    shutil.rmtree("data")
    write_world(in_process.folder, documents=40)
    return in_process


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    return digests


@pytest.fixture
def stop_after() -> type[StopAfter]:
    return StopAfter
