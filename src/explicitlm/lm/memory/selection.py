"""What a layer looked at."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Selection(NamedTuple):
    """The rows of one choice, detached: for the update of implicit rows, for evaluation and for a trace.

    candidates_BSC: the bank rows found, C of them a position.
    chosen_BS: the bank row read.
    query_BSD: the memory query that chose it.
    """

    candidates_BSC: Tensor
    chosen_BS: Tensor
    query_BSD: Tensor
