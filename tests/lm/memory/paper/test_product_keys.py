"""The search equals a brute-force search over all N rows, and the router's scores train its weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from explicitlm.lm.memory.paper import product_keys
from explicitlm.lm.memory.paper.product_keys import ProductKeyRouter, largest, rank_pairs


def router(side: int, candidates: int, dim: int = 12, key_dim: int = 6) -> ProductKeyRouter:
    built = ProductKeyRouter(dim, side * side, key_dim, candidates)
    torch.nn.init.normal_(built.keys_2SH)
    return built


def every_score(built: ProductKeyRouter, query_TD: Tensor) -> Tensor:
    """The plain reference: the score [T, N] of every row, from its own whole key."""
    rows = torch.arange(built.side**2)
    key_ND = torch.cat([built.keys_2SH[0][rows // built.side], built.keys_2SH[1][rows % built.side]], dim=1)
    return (query_TD @ built.project.weight.T) @ key_ND.T * built.scale


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 17), st.integers(0, 70), st.integers(0, 2**31))
def test_equals_brute_force_over_all_rows(candidates: int, more: int, seed: int) -> None:
    torch.manual_seed(seed)
    built = router(candidates + more, candidates)
    query_TD = torch.randn(9, 12)
    found = built(query_TD)
    best = every_score(built, query_TD).topk(candidates, dim=1)
    assert torch.equal(found.index_TC.sort().values, best.indices.sort().values)
    torch.testing.assert_close(found.score_TC.sort(descending=True).values, best.values, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_brute_force() -> None:
    built = router(side=32, candidates=16)
    query_TD = torch.randn(7, 12, requires_grad=True)
    weight_TC = torch.randn(7, 16)
    found = built(query_TD)
    inputs = [query_TD, built.keys_2SH, built.project.weight]
    ours = torch.autograd.grad((found.score_TC * weight_TC).sum(), inputs)
    plain = (every_score(built, query_TD).gather(1, found.index_TC) * weight_TC).sum()
    for got, expected in zip(ours, torch.autograd.grad(plain, inputs), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_searching_a_few_queries_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    built, query_TD = router(side=32, candidates=16), torch.randn(7, 12)
    whole = built(query_TD)
    monkeypatch.setattr(product_keys, "_SCORES_AT_ONCE", 3 * 32)
    parts = built(query_TD)
    assert torch.equal(parts.index_TC, whole.index_TC)
    torch.testing.assert_close(parts.score_TC, whole.score_TC)


def test_candidates_of_a_query_are_distinct_rows_of_the_bank() -> None:
    index_TC = router(side=16, candidates=16)(torch.randn(50, 12)).index_TC
    assert all(len(set(row)) == 16 for row in index_TC.tolist())
    assert int(index_TC.min()) >= 0 and int(index_TC.max()) < 256


@pytest.mark.parametrize(("candidates", "pairs"), [(1, 1), (2, 3), (16, 50)])
def test_only_rank_pairs_that_can_win_are_looked_at(candidates: int, pairs: int) -> None:
    assert rank_pairs(candidates).shape == (2, pairs)


@pytest.mark.parametrize("size", [16, 100, 256, 1024])
def test_largest_equals_topk_with_and_without_groups(size: int) -> None:
    score_TS = torch.randn(50, size)
    values, paths = largest(score_TS, 16)
    assert torch.equal(values, score_TS.topk(16).values)
    assert torch.equal(score_TS.gather(1, paths), values)
