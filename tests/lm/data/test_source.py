"""Files in one order everywhere, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from explicitlm.common.errors import DataError
from explicitlm.lm.data.records import read_records, read_texts
from explicitlm.lm.data.source import digest_files, find_files


def test_order_is_by_relative_path_and_hidden_files_do_not_count(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.jsonl", "B.jsonl", ".hidden.jsonl", "a/.git/c.jsonl", "note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = [file.relative_to(tmp_path).as_posix() for file in find_files(tmp_path, (".jsonl",), "data")]
    assert found == ["B.jsonl", "a/z.jsonl", "b.jsonl"]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_missing_and_empty_folders_are_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=rf"the training data is {name}"):
        find_files(tmp_path / name, (".jsonl",), "the training data")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "line 3: broken JSON"),
        (b'{"text": "\xff"}', "line 3: broken JSON"),
        (b'["a"]', "line 3: list where an object was expected"),
        (b'{"txt": "a"}', r'line 3: no string "text" \(keys: txt\)'),
        (b'{"text": 5}', 'line 3: no string "text"'),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=rf"x\.jsonl, {message}"):
        list(read_texts([path]))


def test_byte_order_mark_empty_lines_and_blank_documents(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('\ufeff{"text": "一"}\n \n{"text": "  "}\r\n{"text": "b"}'.encode())
    assert list(read_texts([path])) == ["一", "b"]
    assert [number for number, _ in read_records(path)] == [1, 3, 4]


def test_digest_is_of_contents_in_order(tmp_path: Path, write_jsonl: Any) -> None:
    first, second = (write_jsonl(tmp_path / f"{n}.jsonl", [{"text": n}]) for n in "ab")
    renamed = write_jsonl(tmp_path / "c.jsonl", [{"text": "a"}])
    assert digest_files([first, second]) == digest_files([renamed, second]) != digest_files([second, first])
