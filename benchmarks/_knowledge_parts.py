"""The forms that benchmarks/knowledge.py compares, and the default without each of its parts.

A part is taken out by a hyperparameter where there is one, else by a patch of the running process: what is only good
for a comparison is no option of the product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explicitlm.lm.data.aloud import Reciter
from explicitlm.lm.memory import index
from explicitlm.lm.memory.bags import Bags, weighted_sum
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.read import TokenReader
from explicitlm.lm.memory.rows import Page, Tables, open_rows
from explicitlm.lm.memory.unit import unit_rows
from explicitlm.lm.model import layer, transformer
from explicitlm.lm.model.layer import Found, Memory, MemoryLayer
from explicitlm.lm.training import loop


@dataclass(frozen=True)
class Form:
    """values: hyperparameters; rows_as_text: the bank's sentences stand in the text as well; patch: of the process."""

    values: dict[str, Any] = field(default_factory=dict)
    rows_as_text: bool = False
    patch: Callable[[], None] = lambda: None


def _read_true() -> None:
    def own(self: Reciter, row: int, _: int) -> tuple[list[int], tuple[int, int]]:
        a, b = self._objects_N2[row].tolist()
        return self._tokens(row), (a, b)

    Reciter._swapped = own  # type: ignore[method-assign]


def _no_text_labels() -> None:
    loop.batch_labels = lambda _, windows, ids_B: np.full((len(ids_B), windows.length), -1, dtype=np.int64)  # type: ignore[assignment]


def _whole_address() -> None:
    def addresses(key_VK: Tensor, bank: MemoryBank, row_M: Tensor) -> Tensor:
        token_ML = bank.read(row_M).long()
        weight_ML = (token_ML != bank.pad_id).to(key_VK.dtype)
        return unit_rows(weighted_sum(weight_ML, key_VK, Bags.over(token_ML, len(key_VK))))

    transformer.addresses = addresses  # type: ignore[attr-defined]


def _no_copy() -> None:
    def opened(bank: MemoryBank, row_T: Tensor) -> Page:
        page = open_rows(bank, row_T)
        return page._replace(before_TL=torch.full_like(page.before_TL, -1))

    layer.open_rows = opened  # type: ignore[attr-defined]


def _plain_places() -> None:
    def opened(bank: MemoryBank, row_T: Tensor) -> Page:
        page = open_rows(bank, row_T)
        place_L = torch.arange(bank.length, device=row_T.device)
        return page._replace(place_TL=place_L.expand_as(page.place_TL).contiguous())

    layer.open_rows = opened  # type: ignore[attr-defined]


def _mean_read() -> None:
    def mean(
        self: TokenReader, query_TD: Tensor, ids_T: Tensor, page: Page, tables: Tables, place_PA: Tensor, pad_id: int
    ) -> tuple[Tensor, Tensor]:
        del ids_T, place_PA
        word_TL = (page.token_TL != pad_id).to(query_TD.dtype)
        weight_TL = word_TL / word_TL.sum(1, keepdim=True).clamp(min=1)
        gate_T1 = torch.sigmoid(self.query_proj(query_TD).sum(1, keepdim=True) + self.copy_bonus)
        weight_TL = weight_TL * gate_T1
        return weighted_sum(weight_TL, tables.value_VD.to(query_TD.dtype), page.bags), weight_TL.detach()

    TokenReader.forward = mean  # type: ignore[method-assign]


def _layer(of_attention: bool, skip: bool) -> Callable[[], None]:
    """A memory layer whose query is the attention's output alone, or whose read reaches the fusion only."""

    def patch() -> None:
        def forward(
            self: MemoryLayer, x_BSD: Tensor, rotary: nn.Module, memory: Memory, found: Found | None
        ) -> tuple[Tensor, Found, Tensor]:
            a_BSD = self.attention(self.attention_norm(x_BSD), rotary)
            h_BSD = x_BSD + a_BSD
            q_BSD = self.query_norm(a_BSD if of_attention else h_BSD)
            read_BSD, found, weight_TL = self._read(q_BSD, memory, found)
            y_BSD = h_BSD + self.fusion(torch.cat([q_BSD, read_BSD.to(q_BSD.dtype)], dim=-1))
            return y_BSD + (1.0 if skip else 0.0) * self.reader.skip_scale * read_BSD, found, weight_TL

        MemoryLayer.forward = forward  # type: ignore[method-assign,assignment]

    return patch


def _few_rivals() -> None:
    Reciter.rivals = lambda self, _: self._facts[:0]  # type: ignore[method-assign]


def _one_block() -> None:
    index.BEAM = 1  # type: ignore[misc]


FORMS = {
    "default": Form(),
    "dense": Form({"disable_memory": True}),
    "dense, rows as text": Form({"disable_memory": True}, rows_as_text=True),
    "paper": Form({"router": "paper"}),
}
PARTS = {
    "nothing read aloud": Form({"aloud_share": 0.0}),
    "read aloud with true objects": Form(patch=_read_true),
    "no labels in the text": Form(patch=_no_text_labels),
    "no contrastive loss": Form({"router_coef": 0.0}),
    "no random rivals": Form(patch=_few_rivals),
    "address of the whole row": Form(patch=_whole_address),
    "query of the attention alone": Form(patch=_layer(of_attention=True, skip=True)),
    "read as a mean": Form(patch=_mean_read),
    "no copying on": Form(patch=_no_copy),
    "places from the row's start": Form(patch=_plain_places),
    "no way around the fusion": Form(patch=_layer(of_attention=False, skip=False)),
    "one block searched": Form(patch=_one_block),
    "implicit rows updated": Form({"use_ema_update": True}),
}
