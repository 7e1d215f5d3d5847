"""The tree against an exact search, and its shape."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from explicitlm.lm.memory import index
from explicitlm.lm.memory.index import RowIndex, assign, branching, clusters


def addresses(rows: int, seed: int = 0) -> Tensor:
    """Clustered unit vectors, as rows about the same subject are."""
    draw = torch.Generator().manual_seed(seed)
    subject = torch.randn(rows // 8, 16, generator=draw).repeat_interleave(8, 0)
    return F.normalize(subject + 0.5 * torch.randn(rows, 16, generator=draw), dim=-1)


@pytest.mark.parametrize(
    ("rows", "widths"),
    [(256, (16, 16)), (4096, (64, 64)), (2**16, (256, 256)), (2**20, (256, 64, 64)), (257**2, (257, 257))],
)
def test_levels_multiply_to_all_rows(rows: int, widths: tuple[int, ...]) -> None:
    assert branching(rows) == widths


@pytest.mark.parametrize("levels", [2, 3])
def test_rows_are_found_by_their_own_address(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_TWO_LEVELS", 1 << 16 if levels == 2 else 100)
    keys = addresses(4096)
    tree = RowIndex(4096, 16)
    tree.refresh(lambda row: keys[row])
    assert len(tree.widths) == levels and torch.equal(tree.order_N.sort().values, torch.arange(4096))
    rows, cosine = tree.search(keys, 1)
    assert (rows[:, 0] == torch.arange(4096)).float().mean() > 0.95
    torch.testing.assert_close(cosine[:, 0], (keys * keys[rows[:, 0]]).sum(-1))
    near = F.normalize(keys + 0.1 * torch.randn(4096, 16), dim=-1)
    exact = (near @ keys.T).argmax(1)
    assert (tree.search(near, 1)[0][:, 0] == exact).float().mean() > 0.85
    many, falling = tree.search(near, 16)
    assert many.shape == (4096, 16) and (falling.diff(dim=1) <= 0).all()
    assert all(len(set(row.tolist())) == 16 for row in many[:50])


def test_clusters_are_of_equal_size_and_prefer_what_is_near() -> None:
    keys = addresses(256)
    where = assign(keys @ keys[::16].T, 16)
    assert torch.bincount(where, minlength=16).tolist() == [16] * 16
    order = clusters(keys, 16, None)
    inside = keys[order].view(16, 16, -1)
    own = (inside @ F.normalize(inside.mean(1), dim=-1).unsqueeze(-1)).mean()
    assert own > (keys @ F.normalize(keys.mean(0), dim=-1)).mean() + 0.2


def test_a_kept_state_searches_and_goes_on_alike() -> None:
    keys, later = addresses(256), addresses(256, seed=1)
    first, second = RowIndex(256, 16), RowIndex(256, 16)
    first.refresh(lambda row: keys[row])
    second.load_state({name: value.clone() for name, value in first.state().items()})
    for tree in (first, second):
        tree.refresh(lambda row: later[row])
    assert torch.equal(first.order_N, second.order_N) and first.refreshes == second.refreshes == 2
    assert torch.equal(first.search(keys, 4)[0], second.search(keys, 4)[0])
    assert not list(first.state_dict())  # a checkpoint is rebuilt from its rows


def test_larger_trees_are_regrouped_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_TWO_LEVELS", 100)
    tree = RowIndex(256, 16)
    orders = []
    for seed in range(11):
        keys = addresses(256, seed)
        tree.refresh(keys.__getitem__)
        assert torch.equal(tree.keys_NK, keys[tree.order_N])
        orders.append(tree.order_N.clone())
    assert all(torch.equal(order, orders[0]) for order in orders[:10]) and not torch.equal(orders[10], orders[0])
