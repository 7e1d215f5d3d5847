"""Where weights start."""

from __future__ import annotations

from torch import nn

from explicitlm.lm.memory.paper.product_keys import ProductKeyRouter
from explicitlm.lm.memory.read import TokenReader
from explicitlm.lm.memory.router import ContentRouter
from explicitlm.lm.memory.rows import RowEncoder

_STD = 0.02  # GPT-2's; with the tied head, logits start at a spread of 0.02 * sqrt(D), near uniform


def initialise(model: nn.Module, n_layers: int) -> None:
    """Normal weights of spread 0.02; what adds to the residual stream starts smaller; the memory has its own start.

    Each layer adds twice to the residual stream (attention, fusion or feed-forward), so both output projections are
    divided by sqrt(2 * n_layers) (GPT-2) and the stream's spread does not grow with depth.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=_STD)
        elif isinstance(module, nn.Linear):
            narrow = name.endswith(("o_proj", "down_proj"))
            nn.init.normal_(module.weight, std=_STD / (2 * n_layers) ** 0.5 if narrow else _STD)
    for module in model.modules():
        if isinstance(module, ContentRouter | ProductKeyRouter | RowEncoder | TokenReader):
            module.reset_parameters()
