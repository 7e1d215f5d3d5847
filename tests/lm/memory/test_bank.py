"""The bank: 16 bits an id over the whole range, and errors that say what does not fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explicitlm.common.errors import DataError
from explicitlm.lm.memory import MemoryBank


def bank(rows: int = 10, length: int = 4, vocab: int = 300, freeze: float = 0.25) -> MemoryBank:
    return MemoryBank(rows, length, vocab, pad_id=0, freeze_ratio=freeze)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(260, 65535), st.integers(0, 2**31))
def test_every_id_of_any_vocabulary_comes_back(vocab: int, seed: int) -> None:
    ids = torch.randint(vocab, (10, 4), generator=torch.Generator().manual_seed(seed))
    ids[0, :2] = torch.tensor([0, vocab - 1])
    filled = bank(vocab=vocab)
    filled.load(ids)
    assert filled.entries_NL.element_size() == 2
    assert torch.equal(filled.read(torch.arange(10)).long(), ids)


def test_random_rows_are_seeded_and_hold_no_padding() -> None:
    torch.manual_seed(3)
    first = bank(rows=500, vocab=65535)
    torch.manual_seed(3)
    second = bank(rows=500, vocab=65535)
    tokens = first.read(torch.arange(500))
    assert torch.equal(first.entries_NL, second.entries_NL)
    assert int(tokens.min()) > 0 and int(tokens.max()) > 60_000


def test_fewer_rows_fill_the_front_and_leave_the_rest() -> None:
    filled = bank()
    rest = filled.entries_NL[3:].clone()
    filled.load(torch.full((3, 4), 7))
    assert (filled.entries_NL[:3] == 7).all() and torch.equal(filled.entries_NL[3:], rest)


@pytest.mark.parametrize(
    "rows", [torch.zeros(10, 5, dtype=torch.long), torch.zeros(11, 4, dtype=torch.long), torch.zeros(4)]
)
def test_rows_of_another_shape_are_refused(rows: torch.Tensor) -> None:
    with pytest.raises(DataError, match="do not fit a memory bank of 10 entries of 4 tokens"):
        bank().load(rows)


@pytest.mark.parametrize("id_", [-1, 300])
def test_ids_outside_the_vocabulary_are_refused(id_: int) -> None:
    with pytest.raises(DataError, match="the vocabulary ends at 299"):
        bank().load(torch.full((2, 4), id_))


def test_frozen_are_the_first_whole_share_and_every_fact() -> None:
    assert bank(rows=10, freeze=1.0).frozen(torch.arange(10)).all()
    some = bank(rows=10, freeze=0.25)
    some.hold_facts(torch.tensor([1, 7]), torch.tensor([[0, 1], [2, 3]]))
    assert some.frozen(torch.arange(10)).tolist() == [number in (0, 1, 7) for number in range(10)]
    assert some.object_N2[7].tolist() == [2, 3]


def test_swapped_rows_come_back_even_after_an_error() -> None:
    some = bank(rows=6)
    before = some.entries_NL.clone()
    rows, tokens = torch.tensor([4, 2]), torch.full((2, some.length), 9)
    with pytest.raises(KeyError), some.swapped(rows, tokens, torch.tensor([[1, 2], [0, 3]])):
        assert (some.read(rows) == 9).all() and some.object_N2[4].tolist() == [1, 2]
        raise KeyError
    assert torch.equal(some.entries_NL, before) and not some.object_N2.any()


def test_decode_leaves_padding_out() -> None:
    filled = bank()
    filled.load(torch.tensor([[5, 6, 0, 0], [9, 0, 0, 0]]))
    assert filled.decode([1, 0], lambda ids: "-".join(map(str, ids))) == ["9", "5-6"]


def test_the_bank_is_saved_but_not_trained() -> None:
    assert list(bank().state_dict()) == ["entries_NL", "object_N2", "fact_N"]
    assert not list(bank().parameters())
