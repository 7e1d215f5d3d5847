"""The chunked cross entropy against torch's over all logits, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from explicitlm.lm.model.loss import tied_cross_entropy


@pytest.mark.parametrize("positions", [1, 255, 256, 700])
def test_equals_cross_entropy_of_all_logits_with_gradients(positions: int) -> None:
    h, table = torch.randn(positions, 16, requires_grad=True), torch.randn(90, 16, requires_grad=True)
    targets = torch.randint(1, 90, (positions,))
    targets[positions // 2 :: 3] = 0
    targets[0] = 5
    ours, plain = tied_cross_entropy(h, table, targets, 0), F.cross_entropy(h @ table.T, targets, ignore_index=0)
    torch.testing.assert_close(ours, plain)
    for got, expected in zip(
        torch.autograd.grad(3 * ours, [h, table]), torch.autograd.grad(3 * plain, [h, table]), strict=True
    ):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-4)


def test_large_logits_do_not_overflow() -> None:
    h, table, targets = torch.full((4, 2), 300.0), torch.randn(9, 2), torch.tensor([1, 2, 3, 4])
    torch.testing.assert_close(
        tied_cross_entropy(h, table, targets, 0), F.cross_entropy(h @ table.T, targets), rtol=1e-5, atol=1e-3
    )


def test_nothing_but_padding_costs_nothing() -> None:
    h = torch.randn(4, 8, requires_grad=True)
    loss = tied_cross_entropy(h, torch.randn(9, 8), torch.zeros(4, dtype=torch.long), 0)
    loss.backward()
    assert loss == 0 and h.grad is not None and not h.grad.any()


def test_without_gradient_the_value_is_the_same() -> None:
    h, table, targets = torch.randn(40, 8, requires_grad=True), torch.randn(9, 8), torch.randint(1, 9, (40,))
    with torch.no_grad():
        quiet = tied_cross_entropy(h, table, targets, 0)
    assert quiet == tied_cross_entropy(h, table, targets, 0)
