"""Where a run's numbers go: metrics files always, a tracker if asked for, and the display."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from explicitlm.lm.training.progress import Display

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """What takes rows of numbers: the metrics files and the tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes one row of numbers by key."""


Summary = Callable[[Mapping[str, float | int]], None]


class Observers:
    """Forwards numbers; on all but the first process it is silent.

    Args:
        display: what a person sees.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._sinks: list[Sink] = []
        self._summarise: Summary | None = None
        self._clock, self._tokens, self._paused = time.perf_counter(), 0, 0.0

    def start(self, step: int, steps: int, tokens: int) -> None:
        """The first micro-batch is about to begin; `tokens` were seen before a resume."""
        self._display.start(step, steps)
        self._clock, self._tokens, self._paused = time.perf_counter(), tokens, 0.0

    def connect(self, *sinks: Sink | None, summarise: Summary | None = None) -> None:
        """Adds what takes the rows (None counts for nothing), and what takes the results of each evaluation."""
        self._sinks.extend(sink for sink in sinks if sink)
        self._summarise = summarise

    def advance(self, step: int) -> None:
        """An optimizer step is done."""
        self._display.advance(step)

    def train(self, step: int, values: Mapping[str, float], tokens: int) -> None:
        """A row of training numbers; adds the speed since the last one, evaluations and saving left out.

        Args:
            tokens: targets seen since the start of the run.
        """
        now = time.perf_counter()
        speed = (tokens - self._tokens) / max(now - self._clock - self._paused, 1e-9)
        self._clock, self._tokens, self._paused = now, tokens, 0.0
        self._send(step, {**values, "train/tokens_per_sec": speed})
        self._display.numbers(step, values["train/loss_ce"], values["train/lr"], speed)

    def val(self, step: int, values: Mapping[str, float], summary: Mapping[str, float | int]) -> None:
        """A row of evaluation results, and metrics.json as it stands now: `dvc exp show` has it while training runs."""
        self._send(step, values)
        if self._summarise:
            self._summarise(summary)
        text = " ".join(f"{key.removeprefix('val/')} {value:.4f}" for key, value in values.items())
        self._display.show(f"evaluation after step {step}: {text}")

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time in here is not a training time."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - start

    def _send(self, step: int, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.log(step, values)
