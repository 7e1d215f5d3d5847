"""The cheap look at data folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from explicitlm.datasets.scan import Listing, fits, scan
from explicitlm.vcs.pointer import Pointer, parse_pointer


def filled(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("one")
    (folder / "sub/b").write_text("two2")
    return folder


def test_counts_and_bytes(tmp_path: Path) -> None:
    listing = scan(filled(tmp_path / "data"))
    assert listing is not None and (listing.nfiles, listing.size) == (2, 7)
    assert fits(listing, Pointer("0" * 32 + ".dir", 7, 2, "data"))
    assert not fits(listing, Pointer("0" * 32 + ".dir", 8, 2, "data"))
    assert scan(tmp_path / "nothing") is None


def test_any_touch_changes_the_digest(tmp_path: Path) -> None:
    folder = filled(tmp_path / "data")
    seen = {digest(folder)}
    (folder / "a").write_text("ONE")  # same size
    seen.add(digest(folder))
    (folder / "sub/b").rename(folder / "sub/c")
    seen.add(digest(folder))
    os.utime(folder / "a", ns=(1, 1))
    seen.add(digest(folder))
    assert len(seen) == 4
    assert digest(folder) in seen


def digest(folder: Path) -> str:
    listing = scan(folder)
    assert isinstance(listing, Listing)
    return listing.digest


def test_it_counts_as_dvc_counts(project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to folders and ignored files are in no version; they are named, and stand in nobody's way."""
    project.export(monkeypatch)
    folder = project.root / "data/database"
    elsewhere = project.root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "more.jsonl").write_text('{"text": "x"}\n')
    (folder / "part").symlink_to(elsewhere)
    (folder / "one.jsonl").symlink_to(elsewhere / "more.jsonl")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").write_text("x")
    with (project.root / ".dvcignore").open("a") as file:
        file.write("*.tmp\n")
    (folder / "half.tmp").write_text("x")
    project.dvc("add", "-q", "data/database")
    pointer = parse_pointer((project.root / "data/database.dvc").read_text(), "database")
    listing = scan(folder)
    assert listing is not None and fits(listing, pointer)
    assert listing.skipped == ("__pycache__/", "half.tmp", "part/")
    with (project.root / ".dvcignore").open("a") as file:
        file.write("!half.tmp\n")
    again = scan(folder)
    assert again is not None and again.skipped == ("__pycache__/", "part/")
