"""The bank's update: towards the query, distinct tokens, never a frozen row, equal on all ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory import BankUpdater, MemoryBank, Selection
from explicitlm.lm.memory.update import move_rows, repeated

VOCAB, DIM, ROWS, LENGTH = 400, 24, 64, 16


@dataclass
class Output:
    selections: Sequence[Selection]


class Memory(nn.Module):
    """What the update sees of a model: a bank and an embedding table."""

    def __init__(self, freeze_ratio: float = 0.25) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, DIM)
        self.bank: Any = MemoryBank(ROWS, LENGTH, VOCAB, pad_id=0, freeze_ratio=freeze_ratio)


def config(**values: Any) -> TrainConfig:
    base: dict[str, Any] = {"knowledge_num": ROWS, "knowledge_length": LENGTH, "num_candidates": 4}
    base |= {"ema_update_freq": 1, "use_ema_update": True}
    return TrainConfig(**{**base, **values})


def output(rows: Tensor, query: Tensor) -> Output:
    return Output([Selection(rows.view(1, -1, 1), rows.view(1, -1), query.unsqueeze(0))])


def run_updates(memory: Memory, updater: BankUpdater, count: int, rows: Tensor, query: Tensor) -> None:
    for _ in range(count):
        updater.observe(output(rows, query))
        updater.apply(memory)


def entry_vectors(memory: Memory, rows: Tensor) -> Tensor:
    return memory.embedding(memory.bank.read(rows)).mean(1)


def test_selected_rows_move_towards_their_queries_and_stay_rows_of_distinct_tokens() -> None:
    memory, rows = Memory(), torch.arange(16, ROWS)
    query = torch.randn(len(rows), DIM)
    before = F.cosine_similarity(entry_vectors(memory, rows), query).mean()
    run_updates(memory, BankUpdater(config(), [0, 1, 2, 3]), 60, rows, query)
    after = F.cosine_similarity(entry_vectors(memory, rows), query).mean()
    distinct = torch.tensor([len(set(row)) for row in memory.bank.read(rows).tolist()]).float()
    # the public code's update leaves 2.2 of 16 after 40
    assert distinct.min() == LENGTH
    assert after > before + 0.5
    assert int(memory.bank.read(rows).min()) > 3  # no special token was written


def test_one_update_moves_the_share_that_the_decay_names() -> None:
    for decay, expected in [(0.9, 1.6), (0.5, 8.0), (0.99, 0.16)]:
        memory, rows = Memory(), torch.arange(16, ROWS)
        updater, changed, last = BankUpdater(config(ema_decay=decay), [0]), 0, memory.bank.read(rows)
        for _ in range(25):
            run_updates(memory, updater, 1, rows, torch.randn(len(rows), DIM))
            now = memory.bank.read(rows)
            changed, last = changed + int((now != last).sum()), now
        assert changed / (25 * len(rows)) == pytest.approx(expected, rel=0.02)


def test_a_row_that_agrees_best_already_stays() -> None:
    unit_VD, query_RD = F.normalize(torch.randn(VOCAB, DIM), dim=-1), torch.randn(3, DIM)
    nearest_RL = (query_RD @ unit_VD.T).topk(LENGTH).indices
    shuffled_RL = nearest_RL[:, torch.randperm(LENGTH)]
    assert torch.equal(move_rows(shuffled_RL, query_RD, unit_VD, 4, 0, []), shuffled_RL)


def test_padding_and_repeated_tokens_give_way_first() -> None:
    unit_VD, query_RD = F.normalize(torch.randn(VOCAB, DIM), dim=-1), torch.randn(1, DIM)
    row = torch.tensor([[7, 9, 7, 0]])
    moved = move_rows(row, query_RD, unit_VD, 2, 0, [0])
    assert moved[0, 0] == 7 and moved[0, 1] == 9
    assert not repeated(moved).any() and 0 not in moved
    assert repeated(torch.tensor([[7, 9, 7, 7]])).tolist() == [[False, False, True, True]]


def test_frozen_and_unselected_rows_never_change() -> None:
    memory = Memory()
    before = memory.bank.entries_NL.clone()
    rows = torch.arange(0, ROWS, 2)
    run_updates(memory, BankUpdater(config(), [0]), 30, rows, torch.randn(len(rows), DIM))
    changed = (memory.bank.entries_NL != before).any(1)
    assert memory.bank.first_free == 16 and not changed[:16].any()
    assert not changed[1::2].any() and changed[16::2].all()


def test_only_every_nth_step_updates_and_all_its_micro_batches_count() -> None:
    memory, query = Memory(0.0), torch.randn(2, DIM)
    updater = BankUpdater(config(ema_update_freq=3), [0])
    for step in range(1, 7):
        before = memory.bank.entries_NL.clone()
        for row in (10, 11):  # two micro-batches, one row each
            updater.observe(output(torch.tensor([row, row]), query))
        updated = updater.apply(memory)
        changed = (memory.bank.entries_NL != before).any(1).nonzero().flatten().tolist()
        assert (updated, changed) == ((True, [10, 11]) if step % 3 == 0 else (False, []))


@pytest.mark.parametrize("values", [{"use_ema_update": False}, {"disable_memory": True}])
def test_without_updates_or_memory_nothing_happens(values: dict[str, object]) -> None:
    memory, updater = Memory(), BankUpdater(config(**values), [0])
    before = memory.bank.entries_NL.clone()
    run_updates(memory, updater, 3, torch.arange(ROWS), torch.randn(ROWS, DIM))
    assert torch.equal(memory.bank.entries_NL, before)


def test_resumed_in_the_middle_of_a_window_it_writes_the_same_bank(tmp_path: Path) -> None:
    torch.manual_seed(1)
    straight, resumed = Memory(), Memory()
    resumed.load_state_dict(straight.state_dict())
    batches = [(torch.randint(ROWS, (40,)), torch.randn(40, DIM)) for _ in range(4)]
    first, second = (BankUpdater(config(ema_update_freq=2), [0]) for _ in range(2))
    for memory, updater in ((straight, first), (resumed, second)):
        updater.apply(memory)
        updater.observe(output(*batches[0]))
    torch.save(second.state_dict(), tmp_path / "state.pt")
    second = BankUpdater(config(ema_update_freq=2), [0])
    second.load_state_dict(torch.load(tmp_path / "state.pt"))
    for memory, updater in ((straight, first), (resumed, second)):
        updater.observe(output(*batches[1]))
        assert updater.apply(memory)
    assert torch.equal(straight.bank.entries_NL, resumed.bank.entries_NL)


RANK = """
import sys, torch, torch.distributed as dist
sys.path.insert(0, sys.argv[4])
from test_update import BankUpdater, Memory, config, output, DIM, ROWS
rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
torch.manual_seed(0)
memory, updater = Memory(), BankUpdater(config(), [0])
for step in range(5):
    rows, query = torch.randint(ROWS, (60,)), torch.randn(60, DIM)
    part = slice(0, 25) if (rank, world) == (0, 2) else slice(25, 60) if world == 2 else slice(0, 60)
    updater.observe(output(rows[part], query[part]))
    updater.apply(memory)
torch.save(memory.bank.entries_NL, f"{folder}/bank{rank}of{world}.pt")
if world > 1:
    dist.destroy_process_group()
"""


def test_two_processes_write_the_bank_of_one(tmp_path: Path) -> None:
    """Real gloo processes, each with its own part of the batch (25 and 35 positions)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, rank, world, str(tmp_path), str(Path(__file__).parent)],
            env=environment,
        )
        for rank, world in [("0", "2"), ("1", "2"), ("0", "1")]
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    banks = [torch.load(tmp_path / f"bank{name}.pt") for name in ("0of2", "1of2", "0of1")]
    assert torch.equal(banks[0], banks[1]) and torch.equal(banks[0], banks[2])
