"""The tree against an exact search, and its shape."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from explicitlm.lm.memory import index
from explicitlm.lm.memory.index import REFRESH_STEPS, RowIndex, assign, branching, clusters


def addresses(rows: int, seed: int = 0) -> Tensor:
    """Clustered unit vectors, as rows about the same subject are."""
    draw = torch.Generator().manual_seed(seed)
    subject = torch.randn(rows // 8, 16, generator=draw).repeat_interleave(8, 0)
    return F.normalize(subject + 0.5 * torch.randn(rows, 16, generator=draw), dim=-1)


@pytest.mark.parametrize(
    ("rows", "widths"),
    [(256, (32, 8)), (4096, (128, 32)), (2**16, (512, 128)), (2**20, (256, 64, 64)), (257**2, (257, 257)), (1, (1, 1))],
)
def test_levels_multiply_to_all_rows(rows: int, widths: tuple[int, ...]) -> None:
    assert branching(rows) == widths


@pytest.mark.parametrize("levels", [2, 3])
def test_rows_are_found_by_their_own_address(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_TWO_LEVELS", 1 << 12 if levels == 2 else 100)
    keys = addresses(4096)
    tree = RowIndex(4096, 16)
    tree.build(lambda row: keys[row])
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
    assert torch.bincount(assign(keys, keys[::16], 16), minlength=16).tolist() == [16] * 16
    inside = keys[clusters(keys, 16, 6)].view(16, 16, -1)
    own = (inside @ F.normalize(inside.mean(1), dim=-1).unsqueeze(-1)).mean()
    assert own > (keys @ F.normalize(keys.mean(0), dim=-1)).mean() + 0.2


def test_a_kept_state_searches_and_goes_on_alike() -> None:
    keys, later = addresses(256), addresses(256, seed=1)
    first, second = RowIndex(256, 16), RowIndex(256, 16)
    first.build(lambda row: keys[row])
    first.maintain(lambda row: later[row])
    second.load_state({name: value.clone() for name, value in first.state().items()})
    for tree in (first, second):
        tree.maintain(lambda row: later[row])
    assert torch.equal(first.order_N, second.order_N) and first.turns == second.turns == 2
    assert all(map(torch.equal, first.search(keys, 4), second.search(keys, 4)))
    assert not list(first.state_dict())  # a checkpoint is rebuilt from its rows


@pytest.mark.parametrize("levels", [2, 3])
def test_rows_that_move_are_found_again_while_no_step_takes_them_all(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_TWO_LEVELS", 1 << 12 if levels == 2 else 100)
    keys, later, asked = addresses(1024), addresses(1024, seed=1), []
    tree = RowIndex(1024, 16)
    tree.build(keys.__getitem__)

    def present(row: Tensor) -> Tensor:
        asked.append(len(row))
        return later[row]

    for _ in range(4 * REFRESH_STEPS):
        tree.maintain(present)
    assert max(asked) <= 1024 // REFRESH_STEPS + 1
    assert torch.equal(tree.order_N.sort().values, torch.arange(1024))
    present_N = torch.isclose(tree.keys_NK, later[tree.order_N]).all(1)
    assert present_N.float().mean() > 0.99  # a row that changes its place may be passed over for a while
    for level in range(levels - 1):
        held = tree.keys_NK.view(len(tree.centres(level)), -1, 16)
        torch.testing.assert_close(tree.centres(level), F.normalize(held.mean(1), dim=-1))
    found = (tree.search(later, 1)[0][:, 0] == torch.arange(1024)).float().mean()
    stale = RowIndex(1024, 16)
    stale.build(keys.__getitem__)
    assert found > 0.9 > (stale.search(later, 1)[0][:, 0] == torch.arange(1024)).float().mean()
