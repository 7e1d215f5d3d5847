"""The forms that benchmarks/knowledge.py compares, and the default without each of its parts.

A part is taken out by a hyperparameter where there is one, else by a patch of the running process: what is only good
for a comparison is no option of the product.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explicitlm.lm.data.aloud import Reciter
from explicitlm.lm.data.batches import Windows
from explicitlm.lm.memory import index, rows
from explicitlm.lm.memory.bags import weighted_sum
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.read import TokenReader
from explicitlm.lm.memory.rows import Page, Swaps, Tables, open_rows
from explicitlm.lm.model import layer
from explicitlm.lm.model.attention import RotaryTable
from explicitlm.lm.model.layer import Found, Memory, MemoryLayer
from explicitlm.lm.training import material


@dataclass(frozen=True)
class Form:
    """values: hyperparameters; rows_as_text: the bank's sentences stand in the text as well.

    patches: what else takes the place of what, as (owner, name, value).
    """

    values: dict[str, Any] = field(default_factory=dict)
    rows_as_text: bool = False
    patches: tuple[tuple[Any, str, Any], ...] = ()

    def apply(self) -> None:
        """Patches this process, for good."""
        for owner, name, value in self.patches:
            setattr(owner, name, value)


def true_object(self: Reciter, row: int, _: int) -> tuple[list[int], tuple[int, int]]:
    """In place of `Reciter._swapped`: the row as it is."""
    a, b = self._objects_N2[row].tolist()
    return self._tokens(row), (a, b)


def no_labels(_: Any, windows: Windows, sequences_B: Any) -> Any:
    """In place of `batch_labels`."""
    return np.full((len(sequences_B), windows.length), -1, dtype=np.int64)


def all_words(bank: MemoryBank, row_M: Tensor) -> tuple[Tensor, Tensor]:
    """In place of `asked_words`: the object counts too."""
    token_ML = bank.read(row_M)
    return token_ML, token_ML != bank.pad_id


def open_without_copying(bank: MemoryBank, row_BS: Tensor, swaps: Swaps | None) -> Page:
    """In place of `open_rows`: no token stands before another."""
    page = open_rows(bank, row_BS, swaps)
    return page._replace(before_TL=torch.full_like(page.before_TL, -1))


def open_from_start(bank: MemoryBank, row_BS: Tensor, swaps: Swaps | None) -> Page:
    """In place of `open_rows`: places count from the row's start, not from the object's."""
    page = open_rows(bank, row_BS, swaps)
    place_L = torch.arange(bank.length, device=row_BS.device)
    return page._replace(place_TL=place_L.expand_as(page.place_TL).contiguous())


def mean_read(
    self: TokenReader, query_TD: Tensor, ids_T: Tensor, page: Page, tables: Tables, place_PA: Tensor, pad_id: int
) -> tuple[Tensor, Tensor]:
    """In place of `TokenReader.forward`: the mean of the row's tokens, times a gate."""
    del ids_T, place_PA
    word_TL = (page.token_TL != pad_id).to(query_TD.dtype)
    gate_T1 = torch.sigmoid(self.query_proj(query_TD).sum(1, keepdim=True) + self.copy_bonus)
    weight_TL = gate_T1 * word_TL / word_TL.sum(1, keepdim=True).clamp(min=1)
    return weighted_sum(weight_TL, tables.value_VD.to(query_TD.dtype), page.bags), weight_TL.detach()


def layer_forward(of_attention: bool, skip: float) -> Any:
    """In place of `MemoryLayer.forward`: a query of the attention's output alone, or a read for the fusion only."""

    def forward(
        self: MemoryLayer,
        x_BSD: Tensor,
        rotary: RotaryTable,
        mask_B1SS: Tensor | None,
        memory: Memory,
        found: Found | None,
    ) -> tuple[Tensor, Found, Tensor]:
        a_BSD = self.attention(self.attention_norm(x_BSD), rotary, mask_B1SS)
        h_BSD = x_BSD + a_BSD
        q_BSD = self.query_norm(a_BSD if of_attention else h_BSD)
        read_BSD, found, weight_TL = self._read(q_BSD, memory, found)
        y_BSD = h_BSD + self.fusion(torch.cat([q_BSD, read_BSD.to(q_BSD.dtype)], dim=-1))
        return y_BSD + skip * self.reader.skip_scale * read_BSD, found, weight_TL

    return forward


def no_rivals(self: Reciter, _: int) -> Any:
    """In place of `Reciter.rivals`: only the sequence's own rows are rivals."""
    return self._facts[:0]


FORMS = {
    "default": Form(),
    "dense": Form({"disable_memory": True}),
    "dense, rows as text": Form({"disable_memory": True}, rows_as_text=True),
    "paper": Form({"router": "paper"}),
}
PARTS = {
    "nothing read aloud": Form({"aloud_share": 0.0}),
    "read aloud with true objects": Form(patches=((Reciter, "_swapped", true_object),)),
    "no labels in the text": Form(patches=((material, "batch_labels", no_labels),)),
    "no contrastive loss": Form({"router_coef": 0.0}),
    "no random rivals": Form(patches=((Reciter, "rivals", no_rivals),)),
    "address of the whole row": Form(patches=((rows, "asked_words", all_words),)),
    "query of the attention alone": Form(patches=((MemoryLayer, "forward", layer_forward(True, 1.0)),)),
    "read as a mean": Form(patches=((TokenReader, "forward", mean_read),)),
    "no copying on": Form(patches=((layer, "open_rows", open_without_copying),)),
    "places from the row's start": Form(patches=((layer, "open_rows", open_from_start),)),
    "no way around the fusion": Form(patches=((MemoryLayer, "forward", layer_forward(False, 0.0)),)),
    "one block searched": Form(patches=((index, "BEAM", {2: 1, 3: 1}),)),
    "implicit rows updated": Form({"use_ema_update": True}),
}
