"""Changing what a finished model knows: rows are written, the addresses made anew, nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from explicitlm.common.errors import UsageError
from explicitlm.lm.data.knowledge import Fact
from explicitlm.lm.data.token_text import object_span, token_bytes
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.training.checkpoint import Checkpoint


def bank_of(checkpoint: Checkpoint) -> MemoryBank:
    """The memory bank of a checkpoint.

    Raises:
        UsageError: it is a dense model.
    """
    if checkpoint.model.bank is None:
        raise UsageError(
            "this model is the dense baseline: it has no memory bank", "take an experiment without disable_memory"
        )
    return checkpoint.model.bank


def add_fact(checkpoint: Checkpoint, fact: Fact) -> int:
    """Writes a fact into a row that holds none and returns the row; see `add_facts`."""
    return add_facts(checkpoint, [fact])[0]


def add_facts(checkpoint: Checkpoint, facts: Sequence[Fact]) -> list[int]:
    """Writes facts into rows that hold none and returns the rows.

    Raises:
        UsageError: too few rows are free, or a sentence does not fit into one.
    """
    free = (~bank_of(checkpoint).fact_N).nonzero().flatten().tolist()
    if len(free) < len(facts):
        raise UsageError(
            f"the bank has {len(free)} rows without a fact", "remove some first, or train with a larger knowledge_num"
        )
    rows = free[: len(facts)]
    for row, fact in zip(rows, facts, strict=True):
        _write(checkpoint, row, fact)
    checkpoint.model.build_index()
    return rows


def edit_fact(checkpoint: Checkpoint, row: int, object_text: str) -> Fact:
    """Puts another object into a fact's sentence and row; returns the fact as it now is.

    Raises:
        UsageError: the row holds no fact with a known object, or the new sentence does not fit.
    """
    fact = fact_at(checkpoint, row)
    if not fact.object or fact.object not in fact.sentence:
        raise UsageError(
            f"row {row} does not say which of its words are the object: {fact.sentence!r}",
            "remove the row and add the new sentence",
        )
    before, _, after = fact.sentence.rpartition(fact.object)
    changed = replace(fact, sentence=f"{before}{object_text}{after}", object=object_text, uuid=None)
    _write(checkpoint, row, changed)
    checkpoint.model.build_index()
    return changed


def remove_fact(checkpoint: Checkpoint, row: int) -> Fact:
    """Empties a fact's row: it is padding only, is found by nothing and gives nothing. Returns the fact."""
    fact, bank = fact_at(checkpoint, row), bank_of(checkpoint)
    bank.entries_NL[row] = torch.tensor(bank.pad_id, dtype=torch.int16)
    bank.object_N2[row], bank.fact_N[row] = 0, False
    del checkpoint.facts[row]
    checkpoint.model.build_index()
    return fact


def fact_at(checkpoint: Checkpoint, row: int) -> Fact:
    """The fact of a row.

    Raises:
        UsageError: the row holds none.
    """
    if row not in checkpoint.facts:
        raise UsageError(f"row {row} holds no fact", "explicitlm knowledge search ID WORDS names the rows of facts")
    return checkpoint.facts[row]


def _write(checkpoint: Checkpoint, row: int, fact: Fact) -> None:
    bank, tokenizer = bank_of(checkpoint), checkpoint.tokenizer
    tokens = tokenizer.encode(fact.sentence)
    if not tokens or len(tokens) > bank.length:
        raise UsageError(
            f"{fact.sentence!r} has {len(tokens)} tokens, a row holds 1 to {bank.length}", "say it in fewer words"
        )
    if fact.object and fact.object not in fact.sentence:
        raise UsageError(
            f"{fact.sentence!r} does not say the object {fact.object!r}", "name the words as they stand in it"
        )
    span = object_span(tokens, fact.object, token_bytes(tokenizer))
    padded = tokens + [bank.pad_id] * (bank.length - len(tokens))
    bank.write(torch.tensor([row]), torch.tensor([padded]))
    bank.hold_facts(torch.tensor([row]), torch.tensor([span]))
    checkpoint.facts[row] = fact
