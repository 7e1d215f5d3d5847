"""The order of a run as properties: nothing lost, nothing twice, the same on any split."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicitlm.common.errors import DataError
from explicitlm.lm.data.batches import BatchPlan, Windows
from explicitlm.lm.data.hashing import permutation, shuffled

plans = st.builds(
    BatchPlan,
    sequences=st.integers(4, 60),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 6),
    world_size=st.integers(1, 4),
    accumulation_steps=st.integers(1, 5),
    seed=st.integers(0, 2**31 - 1),
)


def all_ids(plan: BatchPlan) -> list[int]:
    return [
        int(sequence)
        for step in range(plan.steps)
        for micro in range(plan.micro_batches(step))
        for rank in range(plan.world_size)
        for sequence in plan.ids(step, micro, rank)
    ]


@given(plans)
def test_every_sequence_is_seen_once_an_epoch(plan: BatchPlan) -> None:
    ids = all_ids(plan)
    assert plan.sequences * plan.epochs - plan.world_size < len(ids) == plan.total
    for epoch in range(plan.epochs - 1):
        part = ids[epoch * plan.sequences : (epoch + 1) * plan.sequences]
        assert sorted(part) == list(range(plan.sequences))
    assert max(Counter(ids).values()) <= plan.epochs


@given(plans)
def test_steps_hold_what_their_micro_batches_hold(plan: BatchPlan) -> None:
    assert all_ids(plan) == [int(i) for step in range(plan.steps) for i in plan.window_ids(step)]
    assert all(plan.micro_batches(step) == plan.accumulation_steps for step in range(plan.steps - 1))
    assert 1 <= plan.micro_batches(plan.steps - 1) <= plan.accumulation_steps
    for micro in range(plan.micro_batches(plan.steps - 1)):
        sizes = [len(plan.ids(plan.steps - 1, micro, rank)) for rank in range(plan.world_size)]
        assert min(sizes) >= 1 and max(sizes) <= plan.batch_size


@given(plans, st.data())
def test_any_moment_can_be_returned_to_by_itself(plan: BatchPlan, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, plan.steps - 1))
    micro = data.draw(st.integers(0, plan.micro_batches(step) - 1))
    rank = data.draw(st.integers(0, plan.world_size - 1))
    all_ids(plan)
    fresh = BatchPlan(plan.sequences, plan.epochs, plan.batch_size, plan.world_size, plan.accumulation_steps, plan.seed)
    assert np.array_equal(plan.ids(step, micro, rank), fresh.ids(step, micro, rank))
    assert np.array_equal(plan.noise_keys(step, micro, rank), fresh.noise_keys(step, micro, rank))


@given(st.integers(8, 60), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_processes_share_what_one_would_see(sequences: int, half: int, accumulation: int, seed: int) -> None:
    one = BatchPlan(sequences, 2, 2 * half, 1, accumulation, seed)
    two = BatchPlan(sequences, 2, half, 2, accumulation, seed)
    assert one.steps - 1 <= two.steps <= one.steps
    for step in range(two.steps):
        for micro in range(two.micro_batches(step)):
            for method in ("ids", "noise_keys"):
                whole = getattr(one, method)(step, micro, 0).tolist()
                shared = [*getattr(two, method)(step, micro, 0), *getattr(two, method)(step, micro, 1)]
                assert shared == whole[: len(shared)] and len(whole) - len(shared) <= 1


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    orders = {tuple(permutation(50, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


@given(st.integers(0, 3000), st.integers(0, 2**31), st.integers(0, 5))
def test_a_shuffle_holds_every_number_once_and_can_be_asked_for_any_place(length: int, seed: int, epoch: int) -> None:
    whole = permutation(length, seed, epoch)
    assert sorted(whole.tolist()) == list(range(length))
    places = np.arange(length)[::7]
    assert np.array_equal(shuffled(places, length, seed, epoch), whole[places])


def test_shuffles_are_even() -> None:
    """Every order of four is as frequent as the others, and tenths of a thousand go to all tenths (chi-squared)."""
    orders = Counter(tuple(permutation(4, seed).tolist()) for seed in range(4800))
    assert (
        len(orders) == 24 and sum((count - 200) ** 2 / 200 for count in orders.values()) < 50
    )  # 23 degrees, p < 0.001
    seen = np.zeros((10, 10))
    for seed in range(200):
        np.add.at(seen, (np.arange(1000) // 100, permutation(1000, seed) // 100), 1)
    assert ((seen - 2000) ** 2 / 2000).sum() < 127  # 81 degrees, p < 0.001


def test_a_batch_of_a_huge_corpus_needs_no_list_of_it() -> None:
    plan = BatchPlan(10**12, 3, 48, 8, 16, 7)
    ids = plan.ids(plan.steps // 2, 3, 5)
    assert len(ids) == 48 and ids.min() >= 0 and ids.max() < 10**12


def test_the_shuffle_is_pinned() -> None:
    """A change here changes every run that was ever recorded."""
    assert permutation(10, 1337, 0).tolist() == [6, 2, 8, 3, 1, 0, 7, 9, 4, 5]


def test_epoch_ends_are_steps() -> None:
    assert BatchPlan(10, 3, 4, 1, 1, 0).epoch_ends() == [3, 5, 8]


def test_too_little_data_is_an_error() -> None:
    with pytest.raises(DataError, match="1 sequences for 2 processes"):
        BatchPlan(1, 1, 1, 2, 1, 0)


@given(st.integers(2, 200), st.integers(1, 20))
def test_windows_cover_every_target_once(size: int, length: int) -> None:
    windows = Windows((np.arange(size) + 4).astype(np.uint16), length, pad_id=0)
    ids = np.arange(len(windows))
    inputs_BS, targets_BS = windows.batch(ids)
    assert inputs_BS.shape == targets_BS.shape == (len(windows), length)
    assert targets_BS[targets_BS != 0].tolist() == list(range(5, size + 4))
    assert inputs_BS[inputs_BS != 0].tolist() == list(range(4, size + 3))
    assert windows.targets(ids) == size - 1
    assert windows.targets(ids[-1:]) == (targets_BS[-1] != 0).sum()
