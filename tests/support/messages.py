"""What the project's modules log, as lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from explicitlm.common import logs


@contextmanager
def messages() -> Iterator[list[str]]:
    """Collects the lines that are logged within the context, whatever handlers there are."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger(logs.ROOT)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
