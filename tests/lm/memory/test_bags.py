"""Both sums against the gathered form, with gradients, for distinct, repeated and single rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from explicitlm.lm.memory.bags import Bags, chosen_row, distinct_rows, sampled_dot, stable_order, weighted_sum

shapes = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 12), st.integers(0, 2**31))


def problem(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    bags, size, rows, seed = shape
    torch.manual_seed(seed)
    return (
        torch.randint(rows, (bags, size)),
        torch.randn(rows, 5, requires_grad=True),
        torch.randn(bags, size, requires_grad=True),
        torch.randn(bags, 5, requires_grad=True),
    )


def same(ours: Tensor, plain: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(ours)
    for got, expected in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((plain * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(shapes)
def test_weighted_sum_equals_gather_and_sum(shape: tuple[int, int, int, int]) -> None:
    index, table, weight, _ = problem(shape)
    ours = weighted_sum(weight, table, Bags.over(index, len(table)))
    same(ours, (weight.unsqueeze(2) * table[index]).sum(1), [weight, table])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(shapes)
def test_sampled_dot_equals_gather_and_einsum(shape: tuple[int, int, int, int]) -> None:
    index, table, _, query = problem(shape)
    ours = sampled_dot(query, table, Bags.over(index, len(table)))
    same(ours, torch.einsum("td,tcd->tc", query, table[index]), [query, table])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(shapes)
def test_chosen_row_equals_the_straight_through_sum(shape: tuple[int, int, int, int]) -> None:
    index, table, weight, _ = problem(shape)
    choice = weight.argmax(1, keepdim=True)
    w = torch.zeros_like(weight).scatter_(1, choice, 1.0) + (weight - weight.detach())
    ours = chosen_row(w, table, Bags.over(index, len(table)), choice)
    assert torch.equal(ours, table[index.gather(1, choice).squeeze(1)])
    same(ours, (w.unsqueeze(2) * table[index]).sum(1), [weight, table])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(shapes)
def test_distinct_rows_give_the_index_back(shape: tuple[int, int, int, int]) -> None:
    index = problem(shape)[0]
    rows_U, bags = distinct_rows(index, shape[2])
    assert torch.equal(rows_U, index.unique())
    assert torch.equal(rows_U[bags.index_TC], index)
    other = Bags.over(bags.index_TC, len(rows_U))
    assert torch.equal(bags.order_E, other.order_E) and torch.equal(bags.start_U, other.start_U)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 2**40), st.integers(0, 2**31))
def test_stable_order_equals_a_stable_sort(bound: int, seed: int) -> None:
    value = torch.randint(bound, (200,), generator=torch.Generator().manual_seed(seed)) // 3 * 3
    assert torch.equal(stable_order(value, bound), value.sort(stable=True).indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_bits_every_time(dtype: torch.dtype) -> None:
    index = torch.randint(40, (300, 16))
    weight, query, table = (torch.randn(*s, dtype=dtype) for s in ((300, 16), (300, 64), (40, 64)))
    bags = Bags.over(index, 40)

    def run() -> list[Tensor]:
        inputs = [x.clone().requires_grad_() for x in (weight, query, table)]
        out = (sampled_dot(inputs[1], inputs[2], bags) * weighted_sum(inputs[0], inputs[2], bags)[:, :16]).sum()
        return [out, *torch.autograd.grad(out, inputs)]

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))
