"""No option is parsed and ignored: each one that concerns the model changes what the model does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.model import ExplicitLM

Small = Callable[..., TrainConfig]
Batch = tuple[Tensor, Tensor]


ROWS_BS = torch.randint(0, 200, (2, 12), generator=torch.Generator().manual_seed(2))  # where the targets come from


def loss_of(config: TrainConfig, batch: Batch, train: bool = True) -> float:
    torch.manual_seed(0)
    model = ExplicitLM(config, pad_id=0).train(train)
    torch.manual_seed(1)
    return model(*batch).loss.item()


@pytest.mark.parametrize(
    "change",
    [
        {"norm_eps": 0.1},
        {"rope_theta": 10.0},
        {"attend_across_documents": False},
        {"router": "paper"},
        {"router_coef": 0.1},
        {"router": "paper", "num_candidates": 8},
        {"router": "paper", "gumbel_temperature": 0.1},
        {"knowledge_dim": 16},
        {"knowledge_length": 3},
        {"knowledge_num": 1024},
        {"router": "paper", "similarity_coef": 0.9},
        {"router": "paper", "diversity_coef": 0.9},
        {"n_layers": 3},
        {"n_heads": 2},
        {"n_kv_heads": 4},
        {"dim": 48},
        {"vocab_size": 310},
        {"dropout": 0.5},
        {"disable_memory": True},
    ],
    ids=lambda change: next(reversed(change)),
)
def test_the_option_changes_the_loss_or_its_gradient(small: Small, batch: Batch, change: dict[str, Any]) -> None:
    def result(config: TrainConfig) -> list[float]:
        torch.manual_seed(0)
        model = ExplicitLM(config, pad_id=0, start_id=int(batch[0][0, 5]))
        torch.manual_seed(1)
        loss = model(*batch, rows_BS=ROWS_BS).loss
        loss.backward()
        assert model.embedding.weight.grad is not None
        return [loss.item(), model.embedding.weight.grad.square().sum().item()]

    base = {"router": change["router"]} if len(change) > 1 else {}
    assert result(small(**change)) != result(small(**base))


def test_candidates_are_found_in_evaluation(small: Small, batch: Batch) -> None:
    torch.manual_seed(0)
    (selection,) = ExplicitLM(small(num_candidates=8), pad_id=0).eval()(batch[0]).selections
    assert selection.candidates_BSC.shape == (2, 12, 8)
    assert torch.equal(selection.candidates_BSC[..., 0], selection.chosen_BS)


def test_dropout_acts_in_training_only_and_in_both_forms(small: Small, batch: Batch) -> None:
    for memory in (False, True):
        plain, dropped = (small(disable_memory=not memory, dropout=p) for p in (0.0, 0.5))
        assert loss_of(dropped, batch, train=False) == loss_of(plain, batch, train=False)
        assert loss_of(dropped, batch) != loss_of(plain, batch)


def test_freeze_ratio_and_size_shape_the_bank(small: Small) -> None:
    bank = ExplicitLM(small(freeze_ratio=0.4, knowledge_num=400, knowledge_length=5), pad_id=0).bank
    assert bank is not None
    assert (bank.first_free, bank.rows, bank.length) == (160, 400, 5)


def test_max_seq_len_is_the_longest_sequence(small: Small) -> None:
    model = ExplicitLM(small(max_seq_len=8), pad_id=0)
    model(torch.ones(1, 8, dtype=torch.long))
    with pytest.raises(RuntimeError):
        model(torch.ones(1, 9, dtype=torch.long))


@pytest.mark.slow
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on the CPU needs g++: apt-get install g++")
def test_compiled_layers_agree_with_eager_ones(small: Small, batch: Batch, across: bool) -> None:
    def gradients(config: TrainConfig) -> list[Tensor]:
        torch.manual_seed(0)
        model = ExplicitLM(config, pad_id=0, start_id=int(batch[0][0, 5])).eval()
        loss = model(*batch, rows_BS=ROWS_BS).loss
        loss.backward()
        return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    common = {"n_layers": 1, "attend_across_documents": across}
    plain, compiled = (gradients(small(compile=flag, **common)) for flag in (False, True))
    for got, expected in zip(compiled, plain, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-3)
