"""The whole model: causality, gradients everywhere, padding, equal size of the baseline, equal bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.index import REFRESH_STEPS
from explicitlm.lm.memory.rows import addresses
from explicitlm.lm.model import ExplicitLM, ModelOutput, count_parameters

Small = Callable[..., TrainConfig]
Batch = tuple[Tensor, Tensor]


def build(config: TrainConfig, seed: int = 0) -> ExplicitLM:
    torch.manual_seed(seed)
    return ExplicitLM(config, pad_id=0)


def rows_of(batch: Batch) -> Tensor:
    """The row that some targets are the object of; padding never is."""
    return torch.where(batch[1] % 3 == 0, -1, batch[1] % 200)  # 0 is padding


FORMS: list[dict[str, Any]] = [{}, {"router": "paper"}, {"disable_memory": True}]


def step(model: ExplicitLM, batch: Batch, seed: int = 7) -> tuple[ModelOutput, list[Tensor]]:
    """Losses and every gradient of one training pass with seeded noise."""
    torch.manual_seed(seed)
    model.zero_grad()
    output = model(*batch, rows_BS=rows_of(batch))
    output.loss.backward()
    return output, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_a_token_never_changes_what_comes_before_it(small: Small, batch: Batch, form: dict[str, Any]) -> None:
    model, ids = build(small(**form)).eval(), batch[0]
    before = model(ids).logits_BSV
    for place in range(1, ids.shape[1]):
        other = ids.clone()
        other[:, place] = 1 + (other[:, place] + 17) % 299
        after = model(other).logits_BSV
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_every_trainable_tensor_gets_a_gradient(small: Small, batch: Batch, form: dict[str, Any]) -> None:
    model = build(small(**form))
    if model.bank is not None:
        model.bank.load(batch[0].repeat(128, 1)[:, :6])  # rows that say what the text does, so that copying has a use
    step(model, batch)
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_the_language_model_loss_alone_trains_the_router(small: Small, batch: Batch) -> None:
    """The fault of the public code: with its coarse scores unused, keys and W_g get no gradient at all."""
    model = build(small(router="paper", similarity_coef=0.0, diversity_coef=0.0))
    step(model, batch)
    layers: Any = model.layers
    for layer in layers:
        assert layer.memory.router.keys_2SH.grad.any() and layer.memory.router.project.weight.grad.any()


def test_losses_are_the_sum_that_the_coefficients_name(small: Small, batch: Batch) -> None:
    output = build(small(router="paper", similarity_coef=0.3, diversity_coef=0.7))(*batch)
    expected = output.loss_ce + 0.3 * output.loss_similarity + 0.7 * output.loss_diversity
    torch.testing.assert_close(output.loss, expected)
    assert output.logits_BSV is None
    assert output.avg_selected_similarity == -output.loss_similarity.detach()


def test_memory_terms_are_means_over_layers_and_positions(small: Small, batch: Batch) -> None:
    """Against the entries' vectors themselves, as the output's selections name them."""
    model = build(small(router="paper")).eval()
    output = model(*batch)
    table, bank = model.embedding.weight, model.bank
    assert bank is not None
    similarity, diversity = [], []
    for selection in output.selections:
        entries = table[bank.read(selection.candidates_BSC)].mean(-2)
        chosen = table[bank.read(selection.chosen_BS)].mean(-2)
        similarity.append(torch.cosine_similarity(selection.query_BSD, chosen, dim=-1).mean())
        pairs = torch.cosine_similarity(entries.unsqueeze(2), entries.unsqueeze(3), dim=-1)
        diversity.append(pairs[..., ~torch.eye(pairs.shape[-1], dtype=torch.bool)].mean())
    torch.testing.assert_close(output.loss_similarity, -torch.stack(similarity).mean())
    torch.testing.assert_close(output.loss_diversity, torch.stack(diversity).mean())


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_padding_at_the_end_changes_no_loss_and_no_gradient(small: Small, batch: Batch, form: dict[str, Any]) -> None:
    model = build(small(**form)).eval()
    padded = (torch.nn.functional.pad(batch[0], (0, 4)), torch.nn.functional.pad(batch[1], (0, 4)))
    short, short_gradients = step(model, batch)
    long, long_gradients = step(model, padded)
    for name in ("loss", "loss_ce", "loss_similarity", "loss_diversity"):
        torch.testing.assert_close(getattr(long, name), getattr(short, name))
    for got, expected in zip(long_gradients, short_gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"knowledge_num": 1024, "knowledge_dim": 16},
        {"dim": 64, "n_layers": 1, "num_candidates": 2},
        {"dim": 256, "n_layers": 4, "n_heads": 16, "n_kv_heads": 8, "vocab_size": 6400}
        | {"knowledge_num": 2**20, "knowledge_dim": 128},
    ],
)
def test_the_dense_baseline_has_as_many_parameters(small: Small, values: dict[str, int]) -> None:
    config = small(**values)
    memory, dense = (count_parameters(small(**values, disable_memory=flag)) for flag in (False, True))
    assert abs(memory - dense) <= config.n_layers * 1.5 * config.dim
    if not values:
        assert memory == sum(p.numel() for p in build(config).parameters())


def test_equal_seeds_give_equal_weights_losses_and_gradients(small: Small, batch: Batch) -> None:
    config = small(dropout=0.1)
    first, second = build(config), build(config)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    (one, gradients), (other, others) = step(first, batch), step(second, batch)
    assert torch.equal(one.loss, other.loss)
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))


def test_checkpointing_saves_tensors_and_changes_no_bit(small: Small, batch: Batch) -> None:
    def run(gradient_checkpointing: bool) -> tuple[ModelOutput, list[Tensor], int]:
        model, saved = build(small(gradient_checkpointing=gradient_checkpointing, dropout=0.1)), 0

        def pack(x: Tensor) -> Tensor:
            nonlocal saved
            saved += x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            torch.manual_seed(7)
            output = model(*batch)
        return *step(model, batch), saved if output.loss.requires_grad else 0

    (kept, gradients, much), (again, others, little) = run(False), run(True)
    assert little < much / 2
    assert torch.equal(kept.loss, again.loss)
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_bf16_autocast_trains_close_to_fp32(small: Small, batch: Batch, form: dict[str, Any]) -> None:
    model = build(small(**form)).eval()
    full, _ = step(model, batch)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(*batch, rows_BS=rows_of(batch))
    half.loss.backward()
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss_ce, full.loss_ce, rtol=0.01, atol=0)
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in model.parameters())


def test_evaluation_has_no_noise_and_training_has(small: Small, batch: Batch) -> None:
    model = build(small(router="paper"))
    noisy = {model(*batch).loss.item() for _ in range(3)}
    model.eval()
    quiet = {model(*batch).loss.item() for _ in range(3)}
    assert len(noisy) == 3 and len(quiet) == 1


def test_logits_and_the_loss_agree(small: Small, batch: Batch) -> None:
    model = build(small()).eval()
    logits = model(batch[0]).logits_BSV
    torch.testing.assert_close(
        model(*batch).loss_ce, torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten())
    )


def test_a_few_steps_learn_a_batch_by_heart(small: Small, batch: Batch) -> None:
    model = build(small())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(40):
        output, _ = step(model, batch, seed=len(losses))
        optimizer.step()
        losses.append(output.loss_ce.item())
    assert losses[0] == pytest.approx(5.7, abs=0.1)  # ln 300
    assert losses[-1] < 1.0


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_passes_with_upkeep_bring_the_index_to_the_present_addresses(
    small: Small, batch: Batch, form: dict[str, Any]
) -> None:
    model = build(small(**form))
    model.build_index()
    with torch.no_grad():
        model.embedding.weight.add_(torch.randn_like(model.embedding.weight))
    for _ in range(4 * REFRESH_STEPS):  # a row that changes its place may miss a turn
        model(*batch, upkeep=True)
    if model.router is not None and model.rows is not None and model.bank is not None:
        index, value_VD = model.router.index, model.rows(model.embedding.weight).value_VD
        present = addresses(model.rows.keys(value_VD), model.bank, index.order_N)
        torch.testing.assert_close(index.keys_NK, present)
