"""A training step's time by part: each part's forward and backward alone, on the inputs of a real pass."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from explicitlm.lm.memory import BankUpdater
from explicitlm.lm.memory.bags import distinct_rows
from explicitlm.lm.memory.paper.encode import encode_entries
from explicitlm.lm.memory.paper.matching import match_entries
from explicitlm.lm.memory.paper.noise import gumbel
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.model.layer import PaperLayer
from explicitlm.lm.model.loss import tied_cross_entropy
from explicitlm.lm.training.digest import digest_tensors

REPEATS = 7


def part_times(
    model: ExplicitLM,
    optimizer: torch.optim.Optimizer,
    updater: BankUpdater,
    ids: Tensor,
    synchronize: Callable[[], None],
) -> dict[str, float]:
    """Milliseconds of one step by part, all layers together; medians of `REPEATS`.

    Args:
        model: with memory, in training mode.
        optimizer: of its parameters.
        updater: its bank's.
        ids: token ids [B, S + 1].
        synchronize: waits for the device.
    """

    def milliseconds(run: Callable[[], object]) -> float:
        seconds = []
        for _ in range(REPEATS):
            synchronize()
            start = time.perf_counter()
            run()
            synchronize()
            seconds.append(time.perf_counter() - start)
        return 1000 * statistics.median(seconds)

    parts: dict[str, float] = defaultdict(float)
    with recorded_inputs(model) as inputs:
        output = model(ids[:, :-1], ids[:, 1:])
        output.loss.backward()
    for layer in model.layers:
        assert isinstance(layer, PaperLayer)
        for name, run in layer_parts(layer, model, inputs).items():
            parts[name] += milliseconds(run)
    hidden = inputs[model.norm][0].detach().flatten(0, 1).requires_grad_()
    targets = ids[:, 1:].flatten()
    parts["head and cross entropy"] = milliseconds(
        lambda: tied_cross_entropy(hidden, model.embedding.weight, targets, model.pad_id).backward()
    )
    parts["optimizer"] = milliseconds(optimizer.step)
    parts[f"bank update / {model.config.ema_update_freq}"] = (
        milliseconds(lambda: one_update(updater, model, output)) / model.config.ema_update_freq
    )
    interval = model.config.digest_interval
    parts[f"digest chain / {interval}"] = milliseconds(lambda: digest_tensors(model.state_dict())) / interval
    return {name: round(value, 2) for name, value in parts.items()}


def layer_parts(
    layer: PaperLayer, model: ExplicitLM, inputs: dict[nn.Module, tuple[Any, ...]]
) -> dict[str, Callable[[], object]]:
    """Forward and backward of each part of one layer, ready to be called."""
    bank, table = model.bank, model.embedding.weight
    assert bank is not None
    x = inputs[layer.attention][0].detach().requires_grad_()
    query = inputs[layer.memory][0].detach().flatten(0, 1).requires_grad_()
    fused = inputs[layer.fusion][0].detach().requires_grad_()
    found = layer.memory.router(query)
    rows, bags = distinct_rows(found.index_TC, bank.rows)
    entries = encode_entries(table, bank.read(rows), bank.pad_id).detach().requires_grad_()
    prior = found.score_TC.detach().requires_grad_()
    noise = gumbel(torch.arange(len(query), device=query.device), prior.shape[1])

    def matching() -> None:
        match = match_entries(query, entries, bags, prior, layer.memory.temperature, noise)
        (match.read_TD.sum() + match.similarity_T.sum() + match.diversity_T.sum()).backward()

    return {
        "attention": lambda: layer.attention(x, model.rotary).sum().backward(),
        "router": lambda: layer.memory.router(query).score_TC.sum().backward(),
        "distinct rows": lambda: distinct_rows(found.index_TC, bank.rows),
        "entry encoding": lambda: encode_entries(table, bank.read(rows), bank.pad_id).sum().backward(),
        "matching": matching,
        "fusion": lambda: layer.fusion(fused).sum().backward(),
    }


def one_update(updater: BankUpdater, model: ExplicitLM, output: Any) -> None:
    """Steps the updater to its next update, with one micro-batch observed."""
    while not updater.due:
        updater.apply(model)
    updater.observe(output)
    updater.apply(model)


@contextmanager
def recorded_inputs(model: nn.Module) -> Iterator[dict[nn.Module, tuple[Any, ...]]]:
    """What each module is called with while the block runs."""
    inputs: dict[nn.Module, tuple[Any, ...]] = {}

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs[module] = arguments

    handles = [module.register_forward_pre_hook(record) for module in model.modules()]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()
