"""Matching against the expanded cosine, the full softmax and pairwise diversity, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from explicitlm.lm.memory.bags import Bags
from explicitlm.lm.memory.paper.matching import Match, match_entries
from explicitlm.lm.memory.paper.noise import gumbel

TAU = 0.7


def plain_match(query_TD: Tensor, entry_TCD: Tensor, log_prior_TC: Tensor, noise_TC: Tensor) -> Match:
    """The form of the public code: everything expanded to [T, C, D] and [T, C, C, D]."""
    cosine = F.cosine_similarity(query_TD.unsqueeze(1).expand_as(entry_TCD), entry_TCD, dim=-1)
    p = ((cosine + log_prior_TC + noise_TC) / TAU).softmax(-1)
    choice = p.argmax(-1)
    w = F.one_hot(choice, p.shape[1]).float() + p - p.detach()
    pairs = F.cosine_similarity(entry_TCD.unsqueeze(1), entry_TCD.unsqueeze(2), dim=-1)
    size = p.shape[1]
    off_diagonal = pairs[:, ~torch.eye(size, dtype=torch.bool)].mean(-1)
    return Match((w.unsqueeze(2) * entry_TCD).sum(1), (w * cosine).sum(-1), off_diagonal, choice)


@pytest.mark.parametrize("sample", [False, True])
def test_equals_the_expanded_form_with_gradients(sample: bool) -> None:
    index = torch.randint(20, (11, 5))
    inputs = [torch.randn(s, requires_grad=True) for s in ((11, 8), (20, 8), (11, 5))]
    query, entry, prior = inputs
    noise = gumbel(torch.arange(11), 5) if sample else None
    ours = match_entries(query, entry, Bags.over(index, 20), prior, TAU, noise)
    plain = plain_match(query, entry[index], prior, torch.zeros(11, 5) if noise is None else noise)
    assert torch.equal(ours.choice_T, plain.choice_T)
    weights = [torch.randn_like(x) for x in ours[:3]]
    for got, expected in zip(ours[:3], plain[:3], strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    totals = [
        torch.stack([(x * w).sum() for x, w in zip(match[:3], weights, strict=True)]).sum() for match in (ours, plain)
    ]
    for got, expected in zip(*(torch.autograd.grad(total, inputs) for total in totals), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_what_is_read_is_exactly_one_entry() -> None:
    index, entry = torch.randint(20, (11, 5)), torch.randn(20, 8)
    match = match_entries(
        torch.randn(11, 8), entry, Bags.over(index, 20), torch.zeros(11, 5), TAU, gumbel(torch.arange(11), 5)
    )
    chosen = index.gather(1, match.choice_T.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(match.read_TD, entry[chosen])


def test_noise_samples_candidates_as_the_softmax_says() -> None:
    """Gumbel-max: the share of choices is softmax(logits), whatever the temperature."""
    draws = 20_000
    prior = torch.tensor([0.0, 1.0, 2.0]).expand(draws, 3)
    index = torch.zeros(draws, 3, dtype=torch.long)
    noise = gumbel(torch.arange(draws), 3)
    match = match_entries(torch.ones(draws, 4), torch.ones(1, 4), Bags.over(index, 1), prior, TAU, noise)
    share = torch.bincount(match.choice_T, minlength=3) / draws
    torch.testing.assert_close(share, prior[0].softmax(-1), atol=0.015, rtol=0)


def test_a_single_candidate_and_entries_of_padding_have_no_diversity_term() -> None:
    query, prior = torch.randn(4, 8), torch.zeros(4, 1)
    single = match_entries(query, torch.randn(4, 8), Bags.over(torch.arange(4).view(4, 1), 4), prior, TAU, None)
    empty = match_entries(
        query,
        torch.zeros(3, 8),
        Bags.over(torch.arange(3).repeat(4, 1), 3),
        prior.expand(4, 3),
        TAU,
        None,
    )
    torch.testing.assert_close(single.diversity_T, torch.zeros(4), atol=1e-5, rtol=0)
    assert not empty.diversity_T.any() and empty.read_TD.isfinite().all()
