"""How far a long piece of work on many bytes is: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

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
        self._start = self._reported = time.monotonic()
        self._bar = _bar(what, self._total, done) if sys.stderr.isatty() else None

    def advance(self, size: int) -> None:
        """Some more bytes are done."""
        self._done += size
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=min(self._done, self._total))
        now = time.monotonic()
        if now - self._reported >= _EVERY_S:
            self._reported = now
            speed = (self._done - self._first) / (now - self._start)
            share = min(self._done / self._total, 1.0)
            logger.info(f"{self._what}: {self._done / 1e6:,.0f} MB, about {share:.0%}, {speed / 1e6:.0f} MB/s")

    def __enter__(self) -> SlowWork:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(what: str, total: int, done: int) -> Progress:
    """A bar for a terminal; rich takes 0.05 s to load, which logs need not pay."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.add_task(what, total=total, completed=done)
    return bar
