"""How far a long piece of work on many bytes is: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import logging
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

logger = logging.getLogger(__name__)

_EVERY_S = 20.0  # between two lines


class SlowWork:
    """Shows progress while it is entered.

    Args:
        what: is done, such as "tokenising".
        total: bytes, about.
        done: bytes that were done earlier.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total, self._done, self._first = what, max(total, 1), done, done
        self._start = self._told = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=self._total, completed=done)

    def advance(self, size: int) -> None:
        """Some more bytes are done."""
        self._done += size
        self._bar.update(self._task, completed=min(self._done, self._total))
        now = time.monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            speed = (self._done - self._first) / (now - self._start)
            share = min(self._done / self._total, 1.0)
            logger.info(f"{self._what}: {self._done / 1e6:,.0f} MB, about {share:.0%}, {speed / 1e6:.0f} MB/s")

    def __enter__(self) -> SlowWork:
        if sys.stderr.isatty():
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            self._bar.stop()
