"""The fast model and the benchmark's plain form are the same mathematics: equal losses and gradients."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.model import ExplicitLM


def plain_form() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "reference_model.py"
    spec = importlib.util.spec_from_file_location("reference_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equal_weights_and_noise_give_equal_losses_and_gradients(
    small: Callable[..., TrainConfig], batch: tuple[Tensor, Tensor]
) -> None:
    ours = ExplicitLM(small(router="paper"), pad_id=0)
    assert ours.bank is not None
    rows = ours.bank.read(torch.arange(256))
    rows[::3, 4:] = 0  # some entries are padded
    ours.bank.load(rows)
    plain = plain_form().ReferenceLM(copy.deepcopy(ours))
    torch.manual_seed(3)
    output = ours(*batch)
    torch.manual_seed(3)
    loss, expected = plain(*batch)
    torch.testing.assert_close(output.loss, loss)
    torch.testing.assert_close(output.loss_similarity, expected.loss_similarity, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(output.loss_diversity, expected.loss_diversity, atol=1e-6, rtol=1e-4)
    output.loss.backward()
    loss.backward()
    theirs = dict(plain.model.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-6, rtol=1e-3, msg=name)
