"""What the project's modules log, as lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from explicitlm.common import logs


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextmanager
def messages() -> Iterator[list[str]]:
    """Collects the lines that are logged within the context, whatever handlers there are."""
    lines: list[str] = []
    handler = _Collector(lines)
    logger = logging.getLogger(logs.ROOT)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
