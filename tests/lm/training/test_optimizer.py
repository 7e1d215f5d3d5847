"""The learning rate's shape and which parameters decay."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.training.optimizer import build_optimizer, learning_rate


@given(st.integers(1, 400), st.floats(0, 0.99))
def test_warms_up_then_falls_to_a_tenth_at_the_very_last_step(steps: int, ratio: float) -> None:
    config = TrainConfig(learning_rate=1.0, warmup_ratio=ratio)
    rates = [learning_rate(step, steps, config) for step in range(steps)]
    warmup = round(ratio * steps)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup]) and rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if warmup:
        assert rates[warmup - 1] == 1
    if warmup < steps:
        assert rates[-1] == pytest.approx(0.1)


def test_halfway_down_the_cosine() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_ratio=0.0)
    assert learning_rate(49, 100, config) == pytest.approx(0.55)


def test_only_matrices_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    config = TrainConfig(weight_decay=0.3, beta1=0.7, beta2=0.8)
    optimizer = build_optimizer(model, config)
    decays = {parameter: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    assert {decays[parameter] for parameter in model.parameters() if parameter.ndim == 2} == {0.3}
    assert {decays[parameter] for parameter in model.parameters() if parameter.ndim == 1} == {0.0}
    assert len(decays) == 4 and optimizer.defaults["betas"] == (0.7, 0.8)
