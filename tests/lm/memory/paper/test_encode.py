"""Entry vectors against gather and mean, padding left out of values and gradients."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from explicitlm.lm.memory.paper.encode import encode_entries

PAD = 3


def gather_and_mean(table_VD: Tensor, tokens_ML: Tensor) -> Tensor:
    kept = (tokens_ML != PAD).float().unsqueeze(2)
    return (table_VD[tokens_ML.long()] * kept).sum(1) / kept.sum(1).clamp(min=1)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(4, 12), st.integers(0, 2**31))
def test_equals_gather_and_mean_with_gradient(rows: int, length: int, vocab: int, seed: int) -> None:
    torch.manual_seed(seed)
    table_VD = torch.randn(vocab, 5, requires_grad=True)
    tokens_ML = torch.randint(vocab, (rows, length), dtype=torch.int32)
    weight_MD = torch.randn(rows, 5)
    ours, plain = encode_entries(table_VD, tokens_ML, PAD), gather_and_mean(table_VD, tokens_ML)
    torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-5)
    (got,) = torch.autograd.grad((ours * weight_MD).sum(), table_VD)
    (expected,) = torch.autograd.grad((plain * weight_MD).sum(), table_VD)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_padding_changes_neither_the_vector_nor_its_own_embedding() -> None:
    table_VD = torch.randn(8, 5, requires_grad=True)
    short = encode_entries(table_VD, torch.tensor([[1, 2]], dtype=torch.int32), PAD)
    padded = encode_entries(table_VD, torch.tensor([[1, PAD, 2, PAD]], dtype=torch.int32), PAD)
    torch.testing.assert_close(short, padded)
    padded.sum().backward()
    assert table_VD.grad is not None and not table_VD.grad[PAD].any() and table_VD.grad[1].any()


def test_an_entry_of_padding_only_is_zero() -> None:
    assert not encode_entries(torch.randn(8, 5), torch.full((2, 4), PAD, dtype=torch.int32), PAD).any()
