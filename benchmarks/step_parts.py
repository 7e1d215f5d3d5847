"""What a training step on the CPU is made of: matrix products, attention, optimizer, and what is left, op by op.

    python benchmarks/step_parts.py                  # about 2 minutes; --json for one JSON object

One thread, random ids, the profiler's self times of whole steps (forward, backward, optimizer, index), each allocator
setting in a process of its own: the default of glibc, and told to keep its pages. Then one state of the paper's size
is saved as a training saves it: how long training waits for the copy, and how long a thread writes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from _model_worker import Form
from _report import report
from torch.profiler import ProfilerActivity, profile

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.optimizer import build_optimizer
from explicitlm.lm.training.state import Identity, StateStore

KEEPS_PAGES = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
SHAPE = {"dim": 256, "n_layers": 4, "n_heads": 8, "n_kv_heads": 4, "max_seq_len": 256, "batch_size": 4}
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addbmm")
SHOWN = 12  # ops of the rest
AN_HOUR = 6  # states: one in ten minutes


def step(values: dict[str, Any], steps: int) -> dict[str, Any]:
    """Milliseconds of a step by part, and the largest ops of the rest, of one process."""
    torch.set_num_threads(1)
    form = Form("memory", values)
    form.run(2)
    used = time.process_time()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        form.run(steps)
    used = time.process_time() - used
    parts: dict[str, float] = defaultdict(float)
    rest: dict[str, float] = defaultdict(float)
    for event in profiler.events():
        part = _part(event)
        parts[part] += event.self_cpu_time_total / 1000 / steps
        if part == "the rest":
            rest[event.name] += event.self_cpu_time_total / 1000 / steps
    largest = sorted(rest.items(), key=lambda item: -item[1])[:SHOWN]
    return {"parts": dict(parts), "rest": dict(largest), "cpu_ms": 1000 * used / steps}


def _part(event: Any) -> str:
    """Which part an op's own time belongs to."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer."):
            return "optimizer"
        above = above.cpu_parent
    name = event.name.removeprefix("aten::")
    if "scaled_dot_product" in name or "flash_attention" in name:
        return "attention"
    return "matrix products" if name in PRODUCTS else "the rest"


def saving() -> dict[str, Any]:
    """Cost of one state of the paper's size: dim 512, 8 layers, N = 2^20."""
    config = TrainConfig()
    model = ExplicitLM(config, pad_id=0)
    optimizer = build_optimizer(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = StateStore(folder / "states", folder, Identity({}, "", 1), Group())
        store.save({"step": 1, "micro": 0}, model.state_dict(), optimizer.state_dict(), {})
        held = store.cost.held_s
        store.settle()
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "state_mib": size / 2**20,
        "training_waits_s": held,
        "a_thread_writes_s": store.cost.written_s,
        "waits_s_an_hour": AN_HOUR * held,
        "writes_s_an_hour": AN_HOUR * store.cost.written_s,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--steps", type=int, default=3, help="steps that are profiled")
    parser.add_argument("--knowledge_num", type=int, default=1 << 20, help="entries of the bank")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    values = {**SHAPE, "knowledge_num": options.knowledge_num}
    if options.worker:
        print(json.dumps(step(values, options.steps)))
        return
    words = [sys.executable, __file__, "--worker", "--steps", str(options.steps)]
    words += ["--knowledge_num", str(options.knowledge_num)]
    found = {}
    for allocator, environment in (("default", {}), ("keeps pages", KEEPS_PAGES)):
        done = subprocess.run(words, env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True)
        found[allocator] = json.loads(done.stdout.splitlines()[-1])
    parts, rest = [], []
    for allocator, one in found.items():
        total = sum(one["parts"].values())
        parts += [
            {"allocator": allocator, "part": name, "ms": ms, "share": ms / total} for name, ms in one["parts"].items()
        ]
        rest += [
            {"allocator": allocator, "op": name, "ms": ms, "share": ms / total} for name, ms in one["rest"].items()
        ]
    numbers = {f"rest_share_{name.replace(' ', '_')}": one["parts"]["the rest"] / sum(one["parts"].values())
               for name, one in found.items()}  # fmt: skip
    tables = {"a step": parts, "the rest, op by op": rest, "saving a state": [saving()]}
    report("parts of a step", tables, numbers, options.json)


if __name__ == "__main__":
    main()
