"""Corpora of every kind give the same documents; what is damaged or unread is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from explicitlm.common.errors import DataError
from explicitlm.lm.data.records import Place, read_records, read_texts, text_parts
from explicitlm.lm.data.source import KINDS, find_files
from explicitlm.lm.data.tokenizer import sample_texts

TEXTS = [f"document {number} 文\n{'x' * (number % 50)}" for number in range(3000)]
LINES = [json.dumps({"text": text, "n": number}).encode() + b"\n" for number, text in enumerate(TEXTS)]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"corpus{kind}"
    half = len(LINES) // 2
    parts = b"".join(LINES[:half]), b"".join(LINES[half:])
    if kind == ".parquet":
        parquet.write_table(pyarrow.table({"n": range(len(TEXTS)), "text": TEXTS}), path, row_group_size=700)
    else:  # two members or frames: what tools that work in parallel write
        pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
        path.write_bytes(b"".join(map(pack, parts)))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    assert find_files(tmp_path, KINDS, "the training data") == [path]
    assert list(read_texts([path])) == TEXTS
    assert [(number, value["n"]) for number, value in read_records(path)][-1] == (3000, 2999)
    (part,) = text_parts([path, path], Place(1, 2990))
    assert part.texts == TEXTS[2990:] and part.end == (1, 3000)
    assert set(sample_texts([path], limit=20_000)) < set(TEXTS)


@pytest.mark.parametrize(("kind", "message"), [(".jsonl.gz", "gzip"), (".jsonl.zst", "zstd"), (".parquet", "parquet")])
def test_a_file_that_is_cut_off_or_overwritten_is_named(tmp_path: Path, kind: str, message: str) -> None:
    path = write(tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(DataError, match=rf"corpus{kind}: .*{message}"):
        list(read_texts([path]))
    path.write_bytes(b"nonsense" * 100)
    with pytest.raises(DataError, match=rf"corpus{kind}: .*{message}"):
        list(read_texts([path]))


def test_parquet_without_texts_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"body": ["a"]}), path)
    with pytest.raises(DataError, match=r"no column text \(columns: body\)"):
        list(read_texts([path]))


def test_what_json_allows_beside_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a", "score": NaN}\n{"text": "b", "big": 123456789012345678901234567890}\n')
    assert list(read_texts([path])) == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "message"), [(r'{"text": "\ud800"}', "surrogate"), ("[" * 100_000, "broken JSON"), ("7", "int where")]
)
def test_what_is_no_text_is_told_by_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"x\.jsonl, line 2: .*{message}"):
        list(read_texts([path]))


@pytest.mark.parametrize(
    "lines",
    [
        b'{"text":\n"a"}\n{"text": "b"} {"text": "c"}\n',
        b'{"text": "a", "x": {}\n}\n{"text": "b"}{"text": "c"}\n',
        b'{"x": [\n{}], "text": "a"}\n{"text": "b"}{"text": "c"}\n',
        b'{"text": "a"}, {"text": "b"}\n',
    ],
)
def test_each_line_is_one_object(tmp_path: Path, lines: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines)
    with pytest.raises(DataError, match=r"x\.jsonl, line 1: broken JSON"):
        list(read_texts([path]))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", " \n", "\n \n"])
def test_every_line_break_gives_the_same_documents(tmp_path: Path, end: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes("".join(json.dumps({"text": text}) + end for text in [*TEXTS, " ", "\u0085", ""]).encode())
    assert list(read_texts([path])) == TEXTS
    (part,) = text_parts([path], Place(0, 100))
    assert part.texts == TEXTS[100 // end.count("\n") :]


def test_a_document_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    texts = ["x" * 9_000_000, "文" * 3_000_000, "end"]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts))
    assert list(read_texts([path])) == texts
    assert [part.end for part in text_parts([path])][-1] == (0, 3)


def test_files_that_are_not_read_are_named(tmp_path: Path, write_jsonl: Any, logged: list[str]) -> None:
    kept = write_jsonl(tmp_path / "sub/a.jsonl", [])
    for name in ("notes.txt", ".hidden.jsonl", "b.jsonl.bz2", "C.JSONL"):
        (tmp_path / name).write_text("x")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    assert find_files(tmp_path, KINDS, "the training data", ("notes.txt",)) == [kept]
    (line,) = logged
    assert "4 file(s)" in line and ".hidden.jsonl, C.JSONL, b.jsonl.bz2, gone.jsonl" in line


def test_a_folder_with_two_names_is_read_by_the_same_one_everywhere(tmp_path: Path, write_jsonl: Any) -> None:
    """The file system's order of folders would decide otherwise, and with it the order of the text."""
    for number in range(8):
        write_jsonl(tmp_path / f"data/z{number}/x.jsonl", [])
        (tmp_path / f"data/a{number}").symlink_to(f"z{number}")
    found = find_files(tmp_path / "data", KINDS, "the training data")
    assert [path.parent.name for path in found] == [f"a{number}" for number in range(8)]
