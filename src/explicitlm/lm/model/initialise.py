"""Where weights start."""

from __future__ import annotations

from torch import nn

from explicitlm.lm.memory.product_keys import ProductKeyRouter

_STD = 0.02  # GPT-2's; with the tied head, logits start at a spread of 0.02 * sqrt(D), near uniform


def initialise(model: nn.Module, n_layers: int) -> None:
    """Normal weights of spread 0.02; what adds to the residual stream starts smaller; keys start at 1.

    Each layer adds twice to the residual stream (attention, fusion), so both output projections are divided
    by sqrt(2 * n_layers) (GPT-2) and the stream's spread does not grow with depth. The router sees a
    normalised query: a projection of spread 1 / sqrt(D) and keys of spread 1 give coarse scores of unit
    variance, wide enough that different queries find different rows.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=_STD)
        elif isinstance(module, nn.Linear):
            std = _STD / (2 * n_layers) ** 0.5 if name.endswith("project_out") else _STD
            nn.init.normal_(module.weight, std=std)
    for module in model.modules():
        if isinstance(module, ProductKeyRouter):
            nn.init.normal_(module.project.weight, std=module.project.in_features**-0.5)
            nn.init.normal_(module.keys_2SH, std=1.0)
