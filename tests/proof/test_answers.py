"""Answers of a model that was trained again: equal ones may be packed otherwise, others are counted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
import zstandard
from msgspec.structs import replace

from explicitlm.common import layout
from explicitlm.lm.data import answers
from explicitlm.lm.data.answers import Answer
from explicitlm.proof.answers import difference
from explicitlm.records.schema import Items
from explicitlm.vcs.workspace import Workspace

ROWS = [Answer(task="object_prediction", uuid=None, prompt=f"{number} lives in", choices=["Oslo", "Rome"], answer=0,
               scores=[-1.0, None], choice=number % 2, row=None, read=[], hit=None) for number in range(4)]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Workspace:
    """A project without data, and a tree beside it in which a training left the answers."""
    main, workdir = tmp_path / "project", tmp_path / "tree"
    (main / ".dvc").mkdir(parents=True)
    (main / ".dvc/config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path}/store\n")
    answers.write(workdir / layout.ITEMS, ROWS)
    return Workspace(workdir, main)


def recorded(tree: Workspace, rows: list[Answer], level: int = 3) -> Items:
    """Such answers in the cache, packed as another version of zstandard might."""
    lines = msgspec.json.Encoder().encode_lines([{**msgspec.structs.asdict(row), "right": row.right} for row in rows])
    packed = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(lines)
    md5 = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    path = tree.main / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    return Items(md5=md5, size=len(packed))


def test_equal_answers_are_equal_however_they_are_packed(tree: Workspace) -> None:
    own = hashlib.md5((tree.workdir / layout.ITEMS).read_bytes(), usedforsecurity=False).hexdigest()
    assert difference(tree, Items(md5=own, size=None)) is None
    packed = recorded(tree, ROWS)
    assert packed.md5 != own and difference(tree, packed) is None
    last_digit = [replace(row, scores=[-1.0 - 1e-12, None]) for row in ROWS]
    assert difference(tree, recorded(tree, last_digit)) is None


def test_other_answers_are_counted(tree: Workspace) -> None:
    for rows, what in (
        ([*ROWS[:3], replace(ROWS[3], choice=0)], "1 of 4 task items"),
        ([replace(row, scores=[-1.001, None]) for row in ROWS], "4 of 4 task items"),
        ([replace(ROWS[0], scores=[None, None]), replace(ROWS[1], scores=[-1.0]), *ROWS[2:]], "2 of 4 task items"),
        ([*ROWS, *ROWS[:1]], "1 of 5 task items"),
    ):
        items = recorded(tree, rows)
        found = difference(tree, items)
        assert found and (found.cause, found.what, found.was) == ("answers", what, items.md5[:8])


def test_what_cannot_be_compared_in_detail_is_a_difference_too(tree: Workspace, logged: list[str]) -> None:
    nowhere = Items(md5="0" * 32, size=None)
    damaged = recorded(tree, ROWS)
    (tree.main / ".dvc/cache/files/md5" / damaged.md5[:2] / damaged.md5[2:]).write_bytes(b"no answers")
    for items in (nowhere, damaged):
        found = difference(tree, items)
        assert found and found.what == "task items (the answers cannot be compared in detail)"
        assert "neither in the cache nor on remote" in logged[-1]
    (tree.workdir / layout.ITEMS).unlink()
    found = difference(tree, nowhere)
    assert found and (found.what, found.now) == ("task items", None)
