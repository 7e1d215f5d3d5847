"""Tokens/s and peak memory of ExplicitLM, its paper form, the dense baseline and a plain reference form, in one run.

    python benchmarks/model.py             # the shape for a CPU: about 8 minutes on 2 cores
    python benchmarks/model.py --json

A step is forward, backward, optimizer, the upkeep of the row index in the default form (with the facts it reads aloud),
and the bank's update at its frequency in the paper's. Every form has a process of its own; they take turns, and every
ratio is the median over rounds of two forms' times in the same round, so noise from other programs hits both. Times are
CPU seconds of one thread; on a machine with a GPU the same runs there, by the clock, with MFU and bandwidth columns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _device_limits import bytes_per_token, flops_per_token, peak_of
from _report import report

from explicitlm.lm.config import TrainConfig

SIZES = (2**16, 2**20)
STEPS = {"memory": 16, "dense": 8, "paper": 10, "reference": 5}  # a turn: whole cycles of the upkeep and bank updates
FEWEST = 3  # rounds


class Worker:
    """One form in its own process (benchmarks/_model_worker.py)."""

    def __init__(self, form: str, values: dict[str, Any]) -> None:
        self.form, self.values = form, values
        self.seconds: list[float] = []  # of one step, by round
        self.totals: dict[str, Any] = {}
        script = Path(__file__).with_name("_model_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), json.dumps({"form": form, "values": values})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, command: str) -> dict[str, Any]:
        """Sends one command and returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def turn(self) -> None:
        """Times the form's `STEPS`."""
        self.seconds.append(self.ask(str(STEPS[self.form]))["seconds"] / STEPS[self.form])

    def end(self) -> None:
        """Takes the totals and lets the process go."""
        self.totals = self.ask("end")
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the {self.form} form ended with code {self._process.wait()}; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def row(worker: Worker) -> dict[str, Any]:
    """A line of the table."""
    config = TrainConfig(**worker.values, disable_memory=worker.form == "dense")
    step = statistics.median(worker.seconds)
    rate = config.batch_size * config.max_seq_len / step
    values = {
        "form": worker.form,
        "knowledge_num": config.knowledge_num,
        "tokens_per_second": round(rate),
        "step_ms": round(1000 * step, 1),
        "peak_memory_mb": worker.totals["peak_memory_mb"],
        "parameters": worker.totals["parameters"],
    }
    peak = peak_of(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    if peak:
        value_bytes = 2 if config.mixed_precision == "bf16" else 4
        flops = flops_per_token(config, worker.totals["parameters"])
        values["mfu"] = round(rate * flops / peak[0] * (value_bytes / 2), 4)
        values["bandwidth_share"] = round(rate * bytes_per_token(config, value_bytes) / peak[1], 4)
    return values


def ratio(over: Worker, under: Worker) -> float:
    """Median over rounds of the step time of `over` divided by that of `under`."""
    return round(statistics.median(a / b for a, b in zip(over.seconds, under.seconds, strict=True)), 3)


def measure(
    values: dict[str, Any], seconds: float
) -> tuple[dict[tuple[str, int], Worker], dict[tuple[str, int], dict[str, float]]]:
    """All forms in turn until the time is used up (at least `FEWEST` rounds), and a step's parts of each but one.

    The reference runs at the largest size only: no ratio needs it elsewhere, and it takes most of the time.
    """
    forms = [(form, rows) for rows in SIZES for form in ("memory", "dense", "paper")] + [("reference", SIZES[-1])]
    workers = {(form, rows): Worker(form, {**values, "knowledge_num": rows}) for form, rows in forms}
    start, rounds, round_seconds = time.monotonic(), 0, 0.0
    while rounds < FEWEST or time.monotonic() - start + round_seconds < seconds:
        began = time.monotonic()
        for worker in workers.values():
            worker.turn()
        rounds, round_seconds = rounds + 1, time.monotonic() - began
    parts = {key: worker.ask("parts") for key, worker in workers.items() if worker.form != "reference"}
    for worker in workers.values():
        worker.end()
    return workers, parts


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--seconds", type=float, default=240, help="time for the rounds (default: %(default)s)")
    for name, default in {"dim": 256, "n_layers": 4, "n_heads": 16, "n_kv_heads": 8}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--max_seq_len", type=int, default=256)
    parser.add_argument("--mixed_precision", choices=["no", "bf16"], default="no")
    options = vars(parser.parse_args())
    as_json, seconds = options.pop("json"), options.pop("seconds")
    workers, parts = measure(options, seconds)
    largest = SIZES[-1]
    ours, dense, reference = (workers[form, largest] for form in ("memory", "dense", "reference"))
    interval = TrainConfig().digest_interval
    numbers: dict[str, Any] = {
        "speedup_over_reference": ratio(reference, ours),
        "fraction_of_dense": ratio(dense, ours),
        "step_time_ratio_2e20_over_2e16": ratio(ours, workers["memory", 2**16]),
        "digest_share_of_step": round(parts["memory", largest][f"digest chain / {interval}"] / row(ours)["step_ms"], 4),
        "rounds": len(ours.seconds),
        "distinct_candidates_by_layer": ours.totals["distinct_candidates"],
    }
    for worker in (ours, dense, reference):
        numbers[f"{worker.form}_tokens_per_second"] = row(worker)["tokens_per_second"]
        numbers[f"{worker.form}_peak_memory_mb"] = worker.totals["peak_memory_mb"]
    tables = {
        "forms": [row(worker) for worker in workers.values()],
        "parts": [
            {"form": form, "knowledge_num": rows, "part": name, "ms_a_step": value}
            for (form, rows), times in parts.items()
            for name, value in times.items()
        ],
    }
    report("model: whole training steps", tables, numbers, as_json)


if __name__ == "__main__":
    main()
