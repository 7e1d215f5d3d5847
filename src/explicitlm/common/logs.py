"""Where messages go: plain lines on standard output, each module through a logger of its own name."""

from __future__ import annotations

import logging
import sys

from explicitlm.common.shown import printable, without_secrets

ROOT = "explicitlm"  # the parent of all our loggers; other libraries' lines stay their own
STAGE = "__main__"  # the logger of a stage's own module, which runs as `python -m ...`


def set_up(prefix: str = "", quiet: bool = False) -> None:
    """Sends our messages to standard output, whole lines at once; warnings say that they are.

    Args:
        prefix: before each line, such as "[sync_data] ".
        quiet: warnings and errors only, on standard error: standard output belongs to a machine (--json).
    """
    handler = logging.StreamHandler(sys.stderr if quiet else sys.stdout)
    handler.setFormatter(_Lines(prefix))
    for name in (ROOT, STAGE):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        logger.propagate = False


class _Lines(logging.Formatter):
    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        return f"{self._prefix}{level}{printable(without_secrets(record.getMessage()))}"
