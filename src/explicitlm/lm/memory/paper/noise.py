"""Gumbel noise that belongs to a sequence, not to a process: equal however a batch is split or computed again.

A global generator hands out numbers in the order they are asked for, so two processes with half a batch each
would draw other noise than one with the whole. Here each number is a hash of (sequence key, layer, position,
candidate). As a by-product nothing is drawn in training that a resume would have to restore.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9  # 2^32 divided by the golden ratio: spreads small counters over 32 bits


def layer_keys(keys_B: Tensor, layer: int, length: int) -> Tensor:
    """Keys [B, S] of a layer's positions from one key (any int64) for each sequence."""
    low_B, high_B = keys_B & _MASK, (keys_B >> 32) & _MASK
    key_B = _mix(_mix(low_B ^ (layer * _GOLDEN & _MASK)) ^ high_B)
    place_S = torch.arange(length, device=keys_B.device) * _GOLDEN & _MASK
    return _mix(key_B.unsqueeze(1) ^ place_S)


def gumbel(keys_T: Tensor, candidates: int) -> Tensor:
    """Standard Gumbel noise [T, C] (float32) for keys [T]: -log(-log u), u uniform on a grid of 2^-23."""
    place_C = torch.arange(1, candidates + 1, device=keys_T.device) * _GOLDEN & _MASK
    bits_TC = _mix(keys_T.unsqueeze(1) ^ place_C) >> 9
    u_TC = bits_TC.float().add_(0.5).mul_(2.0**-23)  # exact in float32, never 0 or 1
    return u_TC.log_().neg_().log_().neg_()


def _mix(x: Tensor) -> Tensor:
    """lowbias32 (Chris Wellons' hash prospector), on the low 32 bits of int64."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    return x ^ (x >> 16)
