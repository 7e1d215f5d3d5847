"""Noise keyed by sequence: the right distribution, no visible pattern, and no dependence on the batch."""

from __future__ import annotations

import math

import torch

from explicitlm.lm.memory.paper.noise import gumbel, layer_keys

KEYS = torch.arange(32) * 7919 + (1 << 40)


def test_moments_are_those_of_a_gumbel_distribution() -> None:
    noise = gumbel(layer_keys(KEYS, 3, 128).flatten(), 16)
    torch.testing.assert_close(noise.mean(), torch.tensor(0.5772), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.var(), torch.tensor(math.pi**2 / 6), atol=0.03, rtol=0)
    assert noise.isfinite().all()


def test_layers_positions_sequences_and_candidates_do_not_correlate() -> None:
    noise = gumbel(layer_keys(KEYS, 3, 128).flatten(), 16)
    other = gumbel(layer_keys(KEYS, 4, 128).flatten(), 16)
    shifted = [other, noise.roll(1, 0), noise.roll(128, 0), noise.roll(1, 1)]
    correlation = torch.corrcoef(torch.stack([noise.flatten(), *(x.flatten() for x in shifted)]))
    assert (correlation - torch.eye(5)).abs().max() < 0.02


def test_a_sequence_keeps_its_noise_however_the_batch_is_split() -> None:
    whole = gumbel(layer_keys(KEYS, 1, 16).flatten(), 4).view(32, 16, 4)
    part = gumbel(layer_keys(KEYS[5:9], 1, 16).flatten(), 4).view(4, 16, 4)
    assert torch.equal(whole[5:9], part)


def test_negative_keys_are_keys_too() -> None:
    noise = gumbel(layer_keys(-KEYS, 0, 16).flatten(), 4)
    assert noise.isfinite().all() and not torch.equal(noise, gumbel(layer_keys(KEYS, 0, 16).flatten(), 4))
