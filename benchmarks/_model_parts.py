"""A training step's time by part: each part's forward and backward alone, on the inputs of a real pass."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from explicitlm.lm.memory import BankUpdater
from explicitlm.lm.memory.bags import distinct_rows
from explicitlm.lm.memory.paper.encode import encode_entries
from explicitlm.lm.memory.paper.matching import match_entries
from explicitlm.lm.memory.paper.noise import gumbel
from explicitlm.lm.memory.rows import Tables, addresses, open_rows
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.model.layer import DenseLayer, MemoryLayer, PaperLayer
from explicitlm.lm.model.loss import tied_cross_entropy
from explicitlm.lm.training.digest import digest_tensors

REPEATS = 7
UPKEEP = 16  # steps after which every part of the upkeep has had its turn

Inputs = dict[nn.Module, tuple[Any, ...]]  # what each module was called with
Parts = dict[str, Callable[[], object]]  # forward and backward of each part, ready to be called


def part_times(
    model: ExplicitLM,
    optimizer: torch.optim.Optimizer,
    updater: BankUpdater,
    ids: Tensor,
    labels: dict[str, Any],
    clock: Callable[[], float],
) -> dict[str, float]:
    """Milliseconds of one step by part, all layers together; medians of `REPEATS`.

    Args:
        model: in training mode.
        optimizer: of its parameters.
        updater: its bank's.
        ids: token ids [B, S + 1].
        labels: what a pass of the default form has beside them.
        clock: seconds, once the device has done what it was asked for.
    """

    def milliseconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
        seconds = []
        for _ in range(repeats):
            start = clock()
            run()
            seconds.append(clock() - start)
        return 1000 * statistics.median(seconds)

    parts: dict[str, float] = defaultdict(float)
    with recorded_inputs(model) as inputs:
        output = model(ids[:, :-1], ids[:, 1:], **labels)
        output.loss.backward()
    for layer in model.layers:
        for name, run in layer_parts(layer, model, inputs).items():
            parts[name] += milliseconds(run)
    if model.router is not None:
        for name, run in router_parts(model, inputs, labels).items():
            parts[name] = milliseconds(run)
        parts["upkeep of the index"] = milliseconds(lambda: upkeep(model), 1) / UPKEEP
    hidden = inputs[model.norm][0].detach().flatten(0, 1).requires_grad_()
    targets = ids[:, 1:].flatten()
    parts["head and cross entropy"] = milliseconds(
        lambda: tied_cross_entropy(hidden, model.embedding.weight, targets, model.pad_id).backward()
    )
    parts["optimizer"] = milliseconds(optimizer.step)
    if model.config.use_ema_update:
        parts[f"bank update / {model.config.ema_update_freq}"] = (
            milliseconds(lambda: one_update(updater, model, output)) / model.config.ema_update_freq
        )
    interval = model.config.digest_interval
    index = model.router.index.state() if model.router is not None else {}
    parts[f"digest chain / {interval}"] = milliseconds(lambda: digest_tensors(model.state_dict() | index)) / interval
    return {name: round(value, 2) for name, value in parts.items()}


def layer_parts(layer: nn.Module, model: ExplicitLM, inputs: Inputs) -> Parts:
    """The parts of one layer."""
    assert isinstance(layer, DenseLayer | MemoryLayer | PaperLayer)
    x = inputs[layer.attention][0].detach().requires_grad_()
    block = layer.feed_forward if isinstance(layer, DenseLayer) else layer.fusion
    fed = inputs[block][0].detach().requires_grad_()
    parts: Parts = {
        "attention": lambda: layer.attention(x, model.rotary).sum().backward(),
        "feed-forward and fusion": lambda: block(fed).sum().backward(),
    }
    if isinstance(layer, MemoryLayer):
        query, tokens, page, tables, place, pad = inputs[layer.reader]
        leaves = Tables(*(table.detach().requires_grad_() for table in tables))
        query = query.detach().requires_grad_()
        parts["reading"] = lambda: layer.reader(query, tokens, page, leaves, place, pad)[0].sum().backward()
    elif isinstance(layer, PaperLayer):
        parts |= paper_parts(layer, model, inputs)
    return parts


def paper_parts(layer: PaperLayer, model: ExplicitLM, inputs: Inputs) -> Parts:
    """The memory's parts of one layer of the paper's form."""
    bank, table = model.bank, model.embedding.weight
    assert bank is not None
    query = inputs[layer.memory][0].detach().flatten(0, 1).requires_grad_()
    found = layer.memory.router(query)
    rows, bags = distinct_rows(found.index_TC, bank.rows)
    entries = encode_entries(table, bank.read(rows), bank.pad_id).detach().requires_grad_()
    prior = found.score_TC.detach().requires_grad_()
    noise = gumbel(torch.arange(len(query), device=query.device), prior.shape[1])

    def matching() -> None:
        match = match_entries(query, entries, bags, prior, layer.memory.temperature, noise)
        (match.read_TD.sum() + match.similarity_T.sum() + match.diversity_T.sum()).backward()

    return {
        "router": lambda: layer.memory.router(query).score_TC.sum().backward(),
        "distinct rows": lambda: distinct_rows(found.index_TC, bank.rows),
        "entry encoding": lambda: encode_entries(table, bank.read(rows), bank.pad_id).sum().backward(),
        "matching": matching,
    }


def router_parts(model: ExplicitLM, inputs: Inputs, labels: dict[str, Any]) -> Parts:
    """What the default form does once a pass."""
    router, bank, rows = model.router, model.bank, model.rows
    assert router is not None and bank is not None and rows is not None
    reader = next(layer.reader for layer in model.layers if isinstance(layer, MemoryLayer))
    query, _, page, _, _, _ = inputs[reader]
    query = query.detach().requires_grad_()
    rows_BS, rival_M = labels["rows_BS"], labels["rival_M"]
    value = rows(model.embedding.weight).value_VD.detach().requires_grad_()

    def tables() -> None:
        made = rows(model.embedding.weight)
        (made.value_VD.sum() + made.token_VA.sum()).backward()

    def contrast() -> None:
        row_M = torch.unique(torch.cat([rows_BS[rows_BS >= 0], rival_M]))
        fresh = rows.addresses(value, bank, row_M)
        router.contrast(router.address(query), rows_BS, fresh, row_M, torch.isin(row_M, rival_M)).backward()

    return {
        "tables of the vocabulary": tables,
        "search": lambda: router.search(router.address(query)),
        "opening rows": lambda: open_rows(bank, page.row_T.view_as(rows_BS)),
        "contrastive loss": contrast,
    }


@torch.no_grad()
def upkeep(model: ExplicitLM) -> None:
    """`UPKEEP` steps' share of it, with values that the passes make anyway."""
    router, bank, rows = model.router, model.bank, model.rows
    assert router is not None and bank is not None and rows is not None
    value = rows(model.embedding.weight).value_VD
    for _ in range(UPKEEP):
        router.index.maintain(partial(addresses, rows.keys(value), bank))


def one_update(updater: BankUpdater, model: ExplicitLM, output: Any) -> None:
    """Steps the updater to its next update, with one micro-batch observed."""
    while not updater.due:
        updater.apply(model)
    updater.observe(output)
    updater.apply(model)


@contextmanager
def recorded_inputs(model: nn.Module) -> Iterator[Inputs]:
    """What each module is called with while the block runs."""
    inputs: Inputs = {}

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs[module] = arguments

    handles = [module.register_forward_pre_hook(record) for module in model.modules()]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()
