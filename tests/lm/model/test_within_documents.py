"""Attention that stays within documents: a packed window is as good as its documents, each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.model.attention import Attention, within_documents

Small = Callable[..., TrainConfig]

PAD, START, END = 0, 1, 2
FORMS: list[dict[str, Any]] = [{}, {"router": "paper"}, {"disable_memory": True}]
# The rest of a document, an empty one, a whole one, and the beginning of one that is longer than the window
PACKED = [*(40, 41, 42, END), *(START, END), *(START, 50, 51, 52, 50, END), *(START, 60, 61, 62)]
WHOLE = [START, *range(70, 85)]  # fills a window of 16 by itself
REST = [*range(90, 106)]  # the middle of a document: no mark at all
WINDOWS = [PACKED, WHOLE, REST]


def build(config: TrainConfig) -> ExplicitLM:
    """Weights far enough from zero for attention to tell tokens apart."""
    torch.manual_seed(0)
    model = ExplicitLM(config, PAD, START).eval()
    with torch.no_grad():
        for layer in model.layers:
            assert isinstance(layer.attention, Attention)
            layer.attention.qkv_proj.weight.mul_(20)
            layer.attention.o_proj.weight.mul_(20)
    return model


def documents(ids_S: list[int]) -> Iterator[slice]:
    """The places of each document of a window, found one token at a time."""
    first = 0
    for place, token in enumerate(ids_S):
        if token == START and place:
            yield slice(first, place)
            first = place
    yield slice(first, len(ids_S))


def test_a_position_may_look_at_the_earlier_ones_of_its_document() -> None:
    padded = [START, 7, END, START, 8, PAD, PAD]
    for ids in (*WINDOWS, padded, [START, START, START], [END]):
        expected = torch.zeros(len(ids), len(ids), dtype=torch.bool)
        for part in documents(ids):
            expected[part, part] = True
        mask = within_documents(torch.tensor([ids, ids]), START)
        assert mask.shape == (2, 1, len(ids), len(ids)) and mask.dtype == torch.bool
        assert torch.equal(mask[1, 0], expected.tril())
        assert mask.diagonal(dim1=2, dim2=3).all()  # nowhere a softmax over nothing


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_a_packed_window_equals_its_documents_alone(small: Small, form: dict[str, Any]) -> None:
    """Positions within the window are other ones than alone: rotary positions count by their distance."""
    apart, across = (build(small(attend_across_documents=flag, **form)) for flag in (False, True))
    ids_BS = torch.tensor(WINDOWS)
    packed, mixed = apart(ids_BS).logits_BSV, across(ids_BS).logits_BSV
    for window, ids in enumerate(WINDOWS):
        for part in documents(ids):
            alone_1S = ids_BS[window : window + 1, part]
            alone = apart(alone_1S).logits_BSV[0]
            torch.testing.assert_close(packed[window, part], alone, atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(across(alone_1S).logits_BSV[0], alone, atol=1e-4, rtol=1e-3)
            assert torch.allclose(mixed[window, part], alone, atol=1e-3) == (part.start == 0)


def test_without_the_option_no_mask_is_made(small: Small) -> None:
    """The default is the kernel's own causal rule, as if there were no such option."""

    def masks(config: TrainConfig, ids_BS: Tensor) -> list[object]:
        seen: list[object] = []
        model = build(config)
        for layer in model.layers:
            assert isinstance(layer.attention, Attention)
            layer.attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
        model(ids_BS)
        return seen

    for form in FORMS:
        assert masks(small(**form), torch.tensor(WINDOWS)) == [None, None]
        first, second = masks(small(attend_across_documents=False, **form), torch.tensor(WINDOWS))
        assert isinstance(first, Tensor) and first is second  # made once for all layers


@pytest.mark.parametrize("form", FORMS, ids=["content", "paper", "dense"])
def test_training_with_recomputed_layers_and_in_bf16(small: Small, form: dict[str, Any]) -> None:
    """Recomputing changes no bit of the gradient, half precision little of the loss; dropout takes part."""
    ids_BS, targets_BS = torch.tensor(WINDOWS)[:, :-1], torch.tensor(WINDOWS)[:, 1:]

    def step(half: bool = False, **values: Any) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(0)
        model = ExplicitLM(small(attend_across_documents=False, **form, **values), PAD, START)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(ids_BS, targets_BS).loss_ce
        loss.backward()
        return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]

    (kept, gradients), (again, others) = (step(dropout=0.1, gradient_checkpointing=flag) for flag in (False, True))
    assert torch.equal(kept, again) and all(map(torch.equal, gradients, others))
    torch.testing.assert_close(step(half=True)[0], step()[0], rtol=0.01, atol=0)
