"""Many pieces of work that wait for a network, some at a time, watched and shown; a failure ends its own piece only."""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from explicitlm.common.errors import ExplicitLMError, TransferError
from explicitlm.common.shown import without_secrets

logger = logging.getLogger(__name__)

AT_ONCE = 32
ENOUGH_FAILURES = 64  # after so many the rest is not tried
WATCH_S = 5  # between two looks at the store
REPORT_S = 20  # between two lines in a log
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # after which no other piece of work can do better


class Shown:
    """How far it is: a bar on a terminal, now and then a line in a log.

    Args:
        what: is done, such as "pulling". total: objects.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._bytes = what, total, 0, 0
        self._reported = time.monotonic()
        self._bar = _bar(what, total) if sys.stderr.isatty() else None

    def add(self, objects: int, size: int = 0) -> None:
        """Some more is done.

        Args:
            objects: that are done. size: bytes that passed.
        """
        self._done += objects
        self._bytes += size
        if self._bar is not None:
            self._bar(self._done, f"{self._bytes / 1e6:,.0f} MB")
        elif time.monotonic() - self._reported >= REPORT_S:
            self._reported = time.monotonic()
            logger.info(f"{self._what}: {self._done} of {self._total} objects, {self._bytes / 1e6:,.0f} MB")

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar(None, "")


def _bar(what: str, total: int) -> Callable[[int | None, str], None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total, size="")
    bar.start()

    def update(done: int | None, size: str) -> None:
        if done is None:
            bar.stop()
        else:
            bar.update(task, completed=done, size=size)

    return update


async def all_of(
    work: Callable[[str], Awaitable[None]], names: Sequence[str], shown: Shown, watch: Callable[[], None]
) -> None:
    """Works on every name.

    Args:
        work: what it finds absent (FileNotFoundError) is left out; it is cancelled where the whole is given up.
        names: of the pieces. shown: told of each that is done.
        watch: called every few seconds in a thread of its own; what it raises ends everything.

    Raises:
        TransferError: some failed. StorageError: what `watch` raised. ExplicitLMError: what `work` itself raised in
            words, which ends everything too. OSError of a full disk likewise, as TransferError.
    """
    failures: list[str] = []
    remaining = iter(names)
    works = [_worker(work, remaining, shown, failures) for _ in range(min(AT_ONCE, len(names)))]
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in works]
    done: asyncio.Future[Any] = asyncio.gather(*tasks)
    tasks.append(asyncio.ensure_future(_watching(watch)))
    try:
        for ended in (await asyncio.wait({done, tasks[-1]}, return_when=asyncio.FIRST_COMPLETED))[0]:
            ended.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, done, return_exceptions=True)
        shown.close()
    if failures:
        raise TransferError(f"{len(failures)} object(s) failed, the first: {failures[0]}")


async def _worker(
    work: Callable[[str], Awaitable[None]], remaining: Iterator[str], shown: Shown, failures: list[str]
) -> None:
    """Takes one name after another, of those that all workers share, until there is none or too many failed."""
    for name in remaining:
        try:
            await work(name)
            shown.add(1)
        except FileNotFoundError:
            continue
        except ExplicitLMError:
            raise
        except Exception as error:  # obstore's have a base of their own, its Rust side more
            if isinstance(error, OSError) and error.errno in FULL:
                raise TransferError(str(error)) from None
            failures.append(_first_line(error))
            if len(failures) >= ENOUGH_FAILURES:
                return


async def _watching(watch: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(WATCH_S)
        await asyncio.to_thread(watch)


def _first_line(error: Exception) -> str:
    """An error in one line; those of Rust go on with the structures they come from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return without_secrets(lines[0] if lines else type(error).__name__)[:300]
