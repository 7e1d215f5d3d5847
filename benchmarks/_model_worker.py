"""One form of the model in a process of its own, so that its peak memory is its own.

Started by benchmarks/model.py with a JSON description; reads commands from stdin, one a line, and answers each
with one JSON line: a number (that many training steps), "parts" (a step's time by part), "end" (peak memory).
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from typing import Any, Literal

import torch
from _model_parts import part_times
from reference_model import ReferenceLM
from torch import Tensor

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.aloud import RIVALS
from explicitlm.lm.memory import BankUpdater
from explicitlm.lm.model import ExplicitLM, count_parameters
from explicitlm.lm.training.optimizer import build_optimizer

PAD = 0
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Form:
    """A model, its optimizer and random batches. `form` is memory (the default), dense, paper or reference."""

    def __init__(self, form: str, values: dict[str, Any]) -> None:
        torch.manual_seed(1337)
        router: Literal["content", "paper"] = "paper" if form in ("paper", "reference") else "content"
        self.config = TrainConfig(
            **values, disable_memory=form == "dense", router=router, use_ema_update=router == "paper"
        )
        model = ExplicitLM(self.config, PAD).to(DEVICE)
        self.reference = ReferenceLM(model) if form == "reference" else None
        if model.bank is not None and self.reference is not None:
            model.bank = type(model.bank)(1, 1, self.config.vocab_size, PAD, 0.0)  # it holds its own, in int64
        self.model, self.optimizer = model, build_optimizer(model, self.config)
        self.updater = BankUpdater(self.config, [PAD])
        self.steps = self.distinct = 0

    def batch(self) -> Tensor:
        """Uniform random ids [B, S + 1]: they repeat less than text, which favours the reference."""
        shape = (self.config.batch_size, self.config.max_seq_len + 1)
        return torch.randint(1, self.config.vocab_size, shape, device=DEVICE)

    def material(self) -> tuple[Tensor, dict[str, Any]]:
        """What the next step takes: ids, and in the default form labels for a fifth of the targets."""
        ids = self.batch()
        if self.model.router is None:
            return ids, {}
        share = self.config.aloud_share * self.config.batch_size  # a window's are split over its micro-batches
        extra = math.floor((self.steps + 1) * share) - math.floor(self.steps * share)
        ids = torch.cat([ids, ids[:extra]])
        rows = torch.where(ids[:, 1:] % 5 == 0, ids[:, 1:] % self.config.knowledge_num, -1)
        return ids, {"rows_BS": rows, "rival_M": torch.arange(RIVALS, device=DEVICE), "upkeep": True}

    def step(self) -> None:
        """Forward, backward, optimizer step, upkeep of the index, and the bank's update when its turn comes."""
        ids, labels = self.material()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.config.mixed_precision == "bf16"):
            if self.reference is None:
                output = self.model(ids[:, :-1], ids[:, 1:], **labels)
                loss = output.loss
            else:
                loss, output = self.reference(ids[:, :-1], ids[:, 1:])
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if self.reference is None:
            self.updater.observe(output)
            self.updater.apply(self.model)
        elif self.steps % self.config.ema_update_freq == 0:
            self.reference.update_bank(output, self.config.ema_decay)
        self.selections = output.selections

    def run(self, count: int) -> float:
        """Seconds that `count` steps take: of the CPU, or on a GPU of the clock."""
        start = clock()
        for _ in range(count):
            self.step()
        return clock() - start

    def parts(self) -> dict[str, float]:
        """Milliseconds of a step by part: the mean of a step that reads facts aloud and one that does not."""
        found = []
        for _ in range(2):
            found.append(part_times(self.model, self.optimizer, self.updater, *self.material(), clock))
            self.optimizer.zero_grad()
            self.steps += 1
        return {name: round((value + found[1][name]) / 2, 2) for name, value in found[0].items()}

    def totals(self) -> dict[str, Any]:
        """Peak memory of the process (on a GPU: of the device), parameters, and how much candidates repeat."""
        if DEVICE.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        distinct = [selection.candidates_BSC.unique().numel() for selection in self.selections]
        return {
            "peak_memory_mb": round(peak / 2**20),
            "parameters": count_parameters(self.config),
            "distinct_candidates": distinct,
        }


def clock() -> float:
    """Seconds of the CPU; on a GPU of the clock, once it has done what it was asked for."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Builds the form, says so, and answers commands until `end`."""
    description = json.loads(sys.argv[1])
    torch.use_deterministic_algorithms(True)  # as in training
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(1)  # a waiting thread's seconds would count too
    form = Form(description["form"], description["values"])
    form.run(2)
    answer({"ready": True})
    for line in sys.stdin:
        command = line.strip()
        if command == "end":
            answer(form.totals())
            return
        if command == "parts":
            answer(form.parts())
        else:
            answer({"seconds": form.run(int(command))})


def answer(value: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
