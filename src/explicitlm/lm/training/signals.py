"""Signals that end a training early: it saves a state and leaves with 128 + the signal's number."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Interrupted(BaseException):
    """A signal ended the run. No `Exception`, so that no library swallows it.

    Args:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.exit_code = 128 + signum
        self.name = signal.Signals(signum).name


class SignalHandler:
    """Remembers the first signal. Before training starts it raises at once, afterwards the loop asks.

    While the data is prepared nothing is worth saving; during training a micro-batch ends first.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.deferred = False

    def install(self) -> None:
        """Catches the signals, and the death of `accelerate launch`, which forwards none of them."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores HUP
                signal.signal(number, self._receive)
        if "ACCELERATE_MIXED_PRECISION" in os.environ and sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))

    def _receive(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum:
            return  # already on the way out: the state must be written whole
        self.signum = signum
        if not self.deferred:
            raise Interrupted(signum)
