"""Sums over rows picked by index, and their gradients, without ever gathering the rows.

A bag is a query's list of C rows of a table [U, D]. The gathered form holds [T, C, D], writes it, reads it
again for each use and once more in backward; at the benchmark's shape that is 17 MB a use and layer. Both
sums here read the rows where they lie (FBGEMM's embedding_bag on the CPU), 5 to 15 times faster:

    weighted_sum  out_t  = sum_c w_tc * table[index_tc]
    sampled_dot   out_tc = query_t . table[index_tc]
    chosen_row    out_t  = table[index_tc of the c with w_tc = 1], with the gradients of weighted_sum

The table's gradient is a weighted sum over the transposed bags (for each row, the queries that picked it).
Every output row is summed by one thread in a fixed order: forward and backward are deterministic.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

_SUM = 0  # embedding_bag's code for mode="sum"


class Bags(NamedTuple):
    """T bags of C rows out of U, in both directions.

    index_TC: the rows of each bag.
    order_E: the E = T * C picks, ordered by row (stable).
    bag_E: the bag of each pick, in that order.
    start_U: where each row's picks start in that order.
    """

    index_TC: Tensor
    order_E: Tensor
    bag_E: Tensor
    start_U: Tensor

    @classmethod
    def over(cls, index_TC: Tensor, rows: int) -> Bags:
        """Bags over a table of `rows` rows."""
        row_E = index_TC.flatten()
        order_E = stable_order(row_E, rows)
        every_U = torch.arange(rows, dtype=row_E.dtype, device=row_E.device)
        start_U = torch.searchsorted(row_E.index_select(0, order_E), every_U)
        return cls(index_TC, order_E, _bag_of(order_E, index_TC), start_U)


def distinct_rows(index_TC: Tensor, rows: int) -> tuple[Tensor, Bags]:
    """The distinct values [U] of an index below `rows`, and bags over a table that holds one row for each.

    Neighbouring positions pick the same entries: of 16,384 picks a layer, 400 to 2,400 are distinct at the
    benchmark's shape. On a GPU counting them would make the host wait, so there every pick is a row.
    """
    if index_TC.is_cuda:
        every_E = torch.arange(index_TC.numel(), device=index_TC.device)
        bags = Bags(every_E.view_as(index_TC), every_E, _bag_of(every_E, index_TC), every_E)
        return index_TC.flatten(), bags
    order_E = stable_order(index_TC.flatten(), rows)
    row_E = index_TC.flatten().index_select(0, order_E)
    first_E = torch.ones_like(row_E, dtype=torch.bool)
    torch.ne(row_E[1:], row_E[:-1], out=first_E[1:])
    slot_E = torch.empty_like(order_E).scatter_(0, order_E, first_E.cumsum(0) - 1)
    start_U = first_E.nonzero().squeeze(1)
    return row_E[start_U], Bags(slot_E.view_as(index_TC), order_E, _bag_of(order_E, index_TC), start_U)


def stable_order(value_E: Tensor, bound: int) -> Tensor:
    """The order that sorts non-negative integers below `bound`, equal ones as they came.

    15 bits at a time from the lowest: torch sorts 16-bit integers by counting, 16,384 of them in 0.2 ms
    where int64 takes 1.1.
    """
    order_E = (value_E & 0x7FFF).short().sort(stable=True).indices
    for shift in range(15, (bound - 1).bit_length(), 15):
        digit_E = (value_E.index_select(0, order_E) >> shift & 0x7FFF).short()
        order_E = order_E.index_select(0, digit_E.sort(stable=True).indices)
    return order_E


def _bag_of(order_E: Tensor, index_TC: Tensor) -> Tensor:
    return order_E.div(index_TC.shape[1], rounding_mode="floor")


def weighted_sum(weight_TC: Tensor, table_UD: Tensor, bags: Bags) -> Tensor:
    """sum_c weight_tc * table[index_tc]: [T, D]. Weights and table have one floating type."""
    out_TD: Tensor = _WeightedSum.apply(weight_TC, table_UD, *bags)  # type: ignore[no-untyped-call]
    return out_TD


def sampled_dot(query_TD: Tensor, table_UD: Tensor, bags: Bags, known_TC: Tensor | None = None) -> Tensor:
    """query_t . table[index_tc]: [T, C]. Queries and table have one floating type.

    `known_TC` holds the products where a search has already made them; then only their gradient is computed.
    """
    out_TC: Tensor = _SampledDot.apply(query_TD, table_UD, known_TC, *bags)  # type: ignore[no-untyped-call]
    return out_TC


def chosen_row(weight_TC: Tensor, table_UD: Tensor, bags: Bags, choice_T1: Tensor) -> Tensor:
    """`weighted_sum` for weights that are 1 at the choice and else 0, as a straight-through choice has: [T, D].

    One row a bag is read instead of C, and the table's gradient has one term a bag. The weights get theirs.
    """
    slot_T = bags.index_TC.gather(1, choice_T1).squeeze(1)
    out_TD: Tensor = _ChosenRow.apply(weight_TC, table_UD, bags.index_TC, slot_T)  # type: ignore[no-untyped-call]
    return out_TD


class _ChosenRow(Function):
    @staticmethod
    def forward(ctx: Any, _weight_TC: Tensor, table_UD: Tensor, index_TC: Tensor, slot_T: Tensor) -> Tensor:
        ctx.save_for_backward(table_UD, index_TC, slot_T)
        return table_UD.index_select(0, slot_T)

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor | None, ...]:
        table_UD, index_TC, slot_T = ctx.saved_tensors
        grad_TD = grad_TD.contiguous()
        grad_table_UD = torch.zeros_like(table_UD).index_add_(0, slot_T, grad_TD)
        return dots(grad_TD, table_UD, index_TC), grad_table_UD, None, None


class _WeightedSum(Function):
    @staticmethod
    def forward(ctx: Any, weight_TC: Tensor, table_UD: Tensor, index_TC: Tensor, *transposed: Tensor) -> Tensor:
        ctx.save_for_backward(weight_TC, table_UD, index_TC, *transposed)
        return sums(weight_TC, table_UD, index_TC)

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor | None, ...]:
        weight_TC, table_UD, index_TC, *transposed = ctx.saved_tensors
        grad_TD = grad_TD.contiguous()
        grad_weight_TC = dots(grad_TD, table_UD, index_TC) if ctx.needs_input_grad[0] else None
        return grad_weight_TC, _transposed_sums(weight_TC, grad_TD, *transposed), None, None, None, None


class _SampledDot(Function):
    @staticmethod
    def forward(
        ctx: Any, query_TD: Tensor, table_UD: Tensor, known_TC: Tensor | None, index_TC: Tensor, *transposed: Tensor
    ) -> Tensor:
        ctx.save_for_backward(query_TD, table_UD, index_TC, *transposed)
        return dots(query_TD, table_UD, index_TC) if known_TC is None else known_TC.clone()

    @staticmethod
    def backward(ctx: Any, grad_TC: Tensor) -> tuple[Tensor | None, ...]:
        query_TD, table_UD, index_TC, *transposed = ctx.saved_tensors
        grad_TC = grad_TC.contiguous()
        grad_query_TD = sums(grad_TC, table_UD, index_TC)
        return grad_query_TD, _transposed_sums(grad_TC, query_TD, *transposed), None, None, None, None, None


def sums(weight_TC: Tensor, table_UD: Tensor, index_TC: Tensor) -> Tensor:
    """`weighted_sum` without gradient, which needs the bags in one direction only."""
    # detached: embedding_bag prepares a backward of its own for tensors that want a gradient
    return F.embedding_bag(
        index_TC, table_UD.detach(), mode="sum", per_sample_weights=weight_TC.detach().to(table_UD.dtype)
    )


def _transposed_sums(weight_TC: Tensor, x_TD: Tensor, order_E: Tensor, bag_E: Tensor, start_U: Tensor) -> Tensor:
    weight_E = weight_TC.detach().flatten().index_select(0, order_E).to(x_TD.dtype)
    return F.embedding_bag(bag_E, x_TD.detach(), start_U, mode="sum", per_sample_weights=weight_E)


def dots(query_TD: Tensor, table_UD: Tensor, index_TC: Tensor) -> Tensor:
    """query_t . table[index_tc]: [T, C], without gradient and without gathering rows.

    embedding_bag's gradient to its weights is this product; torch has no public name for it.
    """
    bags, size = index_TC.shape
    start_T = torch.arange(0, bags * size, size, dtype=index_TC.dtype, device=index_TC.device)
    every_T = torch.arange(bags, dtype=index_TC.dtype, device=index_TC.device)
    bag_E = every_T.unsqueeze(1).expand(-1, size).contiguous().flatten()
    dots_E: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        query_TD.detach(), table_UD.detach(), index_TC.flatten(), start_T, bag_E, _SUM
    )
    return dots_E.view_as(index_TC)
