"""Changes of data during a training are seen, also those that keep size and time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from explicitlm.pipeline.data_seen import MOST_READ, SMALL, changed_data, data_seen
from explicitlm.vcs.workspace import Workspace

TEXT = "data/database/text.jsonl"


def in_place(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat()
    path.rename(path.with_name("aside"))
    path.write_bytes(path.with_name("aside").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_name("aside").unlink()


@pytest.mark.parametrize("change", [in_place, replaced, Path.unlink, lambda path: path.write_text("other")])
def test_each_way_of_changing_a_file_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    (tmp_path / TEXT).parent.mkdir(parents=True)
    for name in ("text.jsonl", "more.jsonl"):
        (tmp_path / TEXT).with_name(name).write_text("some words")
    workspace = Workspace(tmp_path, tmp_path)
    before = data_seen(workspace)
    assert not changed_data(before, data_seen(workspace))
    change(tmp_path / TEXT)
    assert changed_data(before, data_seen(workspace)) == [TEXT]


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / TEXT).parent.mkdir(parents=True)
    for number in range(MOST_READ // SMALL + 2):
        with (tmp_path / TEXT).with_name(f"{number:04}").open("wb") as file:
            file.truncate(SMALL)
    with (tmp_path / TEXT).open("wb") as file:
        file.truncate(SMALL + 1)
    read = [path for path, seen in data_seen(Workspace(tmp_path, tmp_path)).items() if len(seen) == 4]
    assert len(read) == MOST_READ // SMALL
