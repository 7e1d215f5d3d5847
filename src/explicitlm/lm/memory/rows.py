"""What rows say as vectors: an address from the words that are not the object, and each token as a value.

A row's address leaves its object out (KBLaM, arXiv 2410.10450; FILM, arXiv 2007.00849): it is asked for by subject and
predicate, and an edit of the object does not move it. A row without a known object is addressed by all of its words.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from explicitlm.lm.memory.bags import Bags, sums, weighted_sum
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.unit import unit_rows

TOKEN_DIM = 64  # d_a: width in which a layer picks a token of the row it reads


class Tables(NamedTuple):
    """One row a vocabulary entry, made once a forward pass.

    value_VD: embeddings of length sqrt(D): what reading a token gives.
    token_VA: what a query is compared with to pick a token.
    """

    value_VD: Tensor
    token_VA: Tensor


class Page(NamedTuple):
    """The row that each of T positions reads.

    row_T: the bank row.
    token_TL: its tokens.
    before_TL: the token before each, -1 before the first.
    place_TL: distance to the object's first token, from 0 to 2L.
    bags: the tokens as bags over the vocabulary.
    """

    row_T: Tensor
    token_TL: Tensor
    before_TL: Tensor
    place_TL: Tensor
    bags: Bags


class Swaps(NamedTuple):
    """Rows that say something else to some sequences of a batch; where their object begins stays.

    key_M: sequence * N + row, rising; token_ML: what the row says there.
    """

    key_M: Tensor
    token_ML: Tensor

    def applied(self, token_TL: Tensor, key_T: Tensor) -> Tensor:
        """The tokens of rows as each position's sequence has them."""
        slot_T = torch.searchsorted(self.key_M, key_T).clamp(max=len(self.key_M) - 1)
        same_T1 = (self.key_M[slot_T] == key_T).unsqueeze(1)
        return torch.where(same_T1, self.token_ML[slot_T], token_TL)


def open_rows(bank: MemoryBank, row_BS: Tensor, swaps: Swaps | None = None) -> Page:
    """The pages of the row that each position of a batch reads."""
    row_T = row_BS.flatten()
    token_TL = bank.read(row_T).long()
    if swaps is not None and len(swaps.key_M):
        sequence_B1 = torch.arange(len(row_BS), device=row_T.device).unsqueeze(1)
        token_TL = swaps.applied(token_TL, (sequence_B1 * bank.rows + row_BS).flatten())
    before_TL = torch.cat([token_TL.new_full((len(row_T), 1), -1), token_TL[:, :-1]], dim=1)
    place_L = torch.arange(bank.length, device=row_T.device) + bank.length
    place_TL = place_L - bank.object_N2[row_T, :1].long()
    return Page(row_T, token_TL, before_TL, place_TL, Bags.over(token_TL, bank.vocab_size))


class RowEncoder(nn.Module):
    """The row side of the memory, shared by all layers.

    Args:
        dim: width D of the embeddings.
        address_dim: d_k.
        length: tokens L a row.
    """

    def __init__(self, dim: int, address_dim: int, length: int) -> None:
        super().__init__()
        self.key_proj = nn.Linear(dim, address_dim, bias=False)
        self.token_proj = nn.Linear(dim, TOKEN_DIM, bias=False)
        self.place_embedding = nn.Parameter(torch.empty(2 * length + 1, TOKEN_DIM))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Projections that keep a vector's scale; places start equal."""
        for projection in (self.key_proj, self.token_proj):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        nn.init.zeros_(self.place_embedding)

    def forward(self, embedding_VD: Tensor) -> Tables:
        value_VD = unit_rows(embedding_VD, embedding_VD.shape[1] ** 0.5)
        token_VA = self.token_proj(value_VD)
        return Tables(value_VD.to(token_VA.dtype), token_VA)

    def addresses(self, value_VD: Tensor, bank: MemoryBank, row_M: Tensor) -> Tensor:
        """Addresses of some rows, with gradient: their words are summed first and projected then."""
        return unit_rows(self.key_proj(word_sums(value_VD, bank, row_M)))

    def keys(self, value_VD: Tensor) -> Tensor:
        """The part of each vocabulary entry in an address [V, d_k]: for the addresses of many rows."""
        key_VK: Tensor = self.key_proj(value_VD)
        return key_VK


def addresses(key_VK: Tensor, bank: MemoryBank, row_M: Tensor) -> Tensor:
    """Unit vectors [M, d_k]: where each row is found."""
    return unit_rows(word_sums(key_VK, bank, row_M))


def word_sums(table_VX: Tensor, bank: MemoryBank, row_M: Tensor) -> Tensor:
    """The sums [M, X] of what a table holds for the words that a row's address is made of."""
    token_ML, asked_ML = asked_words(bank, row_M)
    weight_ML = asked_ML.to(table_VX.dtype)
    if not torch.is_grad_enabled():
        return sums(weight_ML, table_VX, token_ML)
    return weighted_sum(weight_ML, table_VX, Bags.over(token_ML.long(), len(table_VX)))


def asked_words(bank: MemoryBank, row_M: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens of rows, and which are neither padding nor the object; all words where that leaves none."""
    token_ML = bank.read(row_M)
    word_ML = token_ML != bank.pad_id
    place_L = torch.arange(bank.length, device=row_M.device)
    span_M2 = bank.object_N2[row_M].long()
    object_ML = (place_L >= span_M2[:, :1]) & (place_L < span_M2[:, 1:])
    asked_ML = word_ML & ~object_ML
    return token_ML, torch.where(asked_ML.any(1, keepdim=True), asked_ML, word_ML)
