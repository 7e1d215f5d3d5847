"""Ctrl-C while a program still loads its modules: a word instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def quiet() -> None:
    """From now on an interruption that nobody catches prints one word; Python ends by the signal as before."""
    sys.excepthook = _told
