"""AdamW (arXiv 1711.05101) with decay on matrices only, and the learning rate of each optimizer step."""

from __future__ import annotations

import math

import torch
from torch import nn

from explicitlm.lm.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all trainable parameters; vectors (norms, scales) are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Rate of optimizer step `step` (from 0) of `steps`: linear warm-up to the peak, then cosine.

    The warm-up takes round(warmup_ratio * steps) steps and ends at the peak; the cosine is a tenth of the
    peak at the very last step.
    """
    peak, floor = config.learning_rate, 0.1 * config.learning_rate
    warmup = round(config.warmup_ratio * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup + 1) / (steps - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))
