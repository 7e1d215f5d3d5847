"""Reading corpora record by record: JSON lines (plain, gzip, zstd) and parquet, one piece in memory at a time.

Errors name the file and the line (of parquet: the row).
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from explicitlm.common.errors import DataError

_EXPANSION = {".gz": 3.0, ".zst": 3.5, ".parquet": 2.0}  # usual bytes of text a byte of file
_CHUNK = 1 << 18  # bytes read or decompressed at a time, few enough for a core's cache
_ROWS = 1024  # of parquet at a time
_PART_SIZE = 1 << 20  # bytes of text in one part, at least

Raw = bytes | dict[str, Any]


class Place(NamedTuple):
    """A place between two records of a list of files: `record` records of file number `file` lie before it."""

    file: int
    record: int


BEGINNING = Place(0, 0)


class _Document(msgspec.Struct, gc=False):
    """What is read of a line; other keys cost little more than their bytes."""

    text: str


_DOCUMENTS = msgspec.json.Decoder(_Document)


class Part(NamedTuple):
    """Some MiB of text. texts: its documents; size: bytes of them as they were read; end: the place after them."""

    texts: list[str]
    size: int
    end: Place


def text_size(files: Sequence[Path]) -> int:
    """About how many bytes the files hold; of compressed ones an estimate."""
    return int(sum(path.stat().st_size * _EXPANSION.get(path.suffix, 1.0) for path in files))


def raw_records(path: Path, skip: int = 0, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Raw]]:
    """Numbers (from 1) and contents of a file's records: lines as they stand, empty ones too, or parquet rows.

    Args:
        path: a file of one of `source.KINDS`; another ending is taken as plain JSON lines.
        skip: records at the start that are not wanted.
        columns: of parquet, those wanted; None: all.

    Raises:
        DataError: the file cannot be decompressed, or is no parquet.
    """
    records: Iterator[Raw]
    if path.suffix == ".parquet":
        records = _parquet_rows(path, columns)
    else:
        records = (line for block in _blocks(path) for line in _lines(block))
    return enumerate(itertools.islice(records, skip, None), start=skip + 1)


def _lines(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    return lines if lines[-1] else lines[:-1]  # after the last line break there is no line


def _blocks(path: Path) -> Iterator[bytes]:
    """A file of JSON lines in some MiB of whole lines, each with its line break (the last one may have none)."""
    rest: list[bytes] = []
    for chunk in _CHUNKS.get(path.suffix, _plain_chunks)(path):
        stop = chunk.rfind(b"\n") + 1
        if stop:
            yield b"".join([*rest, chunk[:stop]])
            rest = []
        rest.append(chunk[stop:])
    if last := b"".join(rest):
        yield last


def _plain_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: damaged gzip ({error})", "bring the file again") from None


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Any number of zstd frames; unlike the library's reader it notices a file that is cut off."""
    import zstandard  # two shared libraries that few corpora need

    decoder, fed = zstandard.ZstdDecompressor(max_window_size=1 << 31), False
    frame = decoder.decompressobj()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                while chunk:
                    yield frame.decompress(chunk)
                    chunk, fed = b"", True
                    if frame.eof:
                        chunk, fed = frame.unused_data, False
                        frame = decoder.decompressobj()
        except zstandard.ZstdError as error:
            raise DataError(f"{path}: damaged zstd ({error})", "bring the file again") from None
    if fed:
        raise DataError(f"{path}: damaged zstd (it ends within a frame)", "bring the file again")


_CHUNKS = {".gz": _gzip_chunks, ".zst": _zstd_chunks}


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException  # 170 MB, which few corpora need
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            f"{path}: reading parquet needs pyarrow", "pip install 'explicitlm[parquet]', or: pip install pyarrow"
        ) from None
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            selected = names if columns is None else [name for name in columns if name in names]
            if not selected:
                raise DataError(
                    f"{path}: no column {' or '.join(columns or ())} (columns: {', '.join(names) or 'none'})",
                    'name the column of the documents "text"',
                )
            for batch in file.iter_batches(_ROWS, columns=selected):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({error})", "bring the file again") from None


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers (from 1) and objects of a file of any kind. Empty lines are skipped.

    Raises:
        DataError: a line that is not UTF-8, no JSON or no object, by file and line; a file that is damaged.
    """
    for number, raw in raw_records(path):
        if isinstance(raw, dict) or raw.strip():
            yield number, parse_record(path, number, raw)


def parse_record(path: Path, number: int, raw: Raw) -> dict[str, Any]:
    """A record as an object.

    Raises:
        DataError: as `read_records`.
    """
    if isinstance(raw, dict):
        return raw
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = _parse_slowly(path, number, raw)
    if not isinstance(value, dict):
        raise DataError(
            f"{path}, line {number}: {type(value).__name__} where an object was expected",
            'each line is one JSON object such as {"text": "..."}',
        )
    return value


def _parse_slowly(path: Path, number: int, raw: bytes) -> Any:
    """What the fast parser refuses: NaN and a byte order mark are let through, the rest is explained."""
    hint = "correct the line; each line is one JSON object"
    try:
        value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{path}, line {number}: half of a surrogate pair, which is no character", hint) from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: broken JSON ({error})", hint) from None
    return value


def text_of(path: Path, number: int, raw: Raw) -> str:
    """The `text` of a training record.

    Raises:
        DataError: as `parse_record`; it is absent or no string.
    """
    value = parse_record(path, number, raw)
    text = value.get("text")
    if not isinstance(text, str):
        raise DataError(
            f'{path}, line {number}: no string "text" (keys: {", ".join(value) or "none"})',
            'training data is one {"text": "..."} a line',
        )
    return text


def text_parts(files: Sequence[Path], start: Place = BEGINNING) -> Iterator[Part]:
    """The documents of the training files from a place on, in order; those of white space only are left out."""
    texts: list[str] = []
    size = 0
    end = start
    for file, path in enumerate(files[start.file :], start.file):
        for number, read, more in _texts(path, start.record if file == start.file else 0):
            texts += [text for text in more if text and not text.isspace()]
            size, end = size + read, Place(file, number)
            if texts and size >= _PART_SIZE:
                yield Part(texts, size, end)
                texts, size = [], 0
    if texts:
        yield Part(texts, size, end)


def _texts(path: Path, skip: int) -> Iterator[tuple[int, int, list[str]]]:
    """Some records at a time: the number of the last one, their bytes, their documents."""
    if path.suffix == ".parquet":
        rows = raw_records(path, skip, ("text",))
        while some := list(itertools.islice(rows, _ROWS)):
            more = [text_of(path, number, row) for number, row in some]
            yield some[-1][0], sum(map(len, more)), more
        return
    done = 0
    for block in _blocks(path):
        breaks_L = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
        lines = len(breaks_L) + (not block.endswith(b"\n"))
        if done + lines > skip:
            texts = _texts_at_once(block, breaks_L) if done >= skip else None
            yield done + lines, len(block), _texts_of_lines(path, block, done, skip) if texts is None else texts
        done += lines


def _texts_at_once(block: bytes, breaks_L: NDArray[np.int64]) -> list[str] | None:
    """The documents of a block in which each line is one object with a text; None where a closer look is needed."""
    if not (block.startswith(b"{") and block.endswith(b"}\n")):
        return None
    bytes_T, inner_L = np.frombuffer(block, dtype=np.uint8), breaks_L[:-1]
    # JSON has no "}" and "{" without a comma between them, so each line break stands between two objects.
    if not ((bytes_T[inner_L - 1] == ord("}")) & (bytes_T[inner_L + 1] == ord("{"))).all():
        return None
    try:
        documents = _DOCUMENTS.decode_lines(block)
    except (msgspec.DecodeError, RecursionError):
        return None
    return [document.text for document in documents] if len(documents) == len(breaks_L) else None


def _texts_of_lines(path: Path, block: bytes, before: int, skip: int) -> list[str]:
    """The documents of lines that stand behind `before` others in their file, without its first `skip` lines."""
    lines = enumerate(_lines(block), before + 1)
    return [text_of(path, number, line) for number, line in lines if number > skip and line.strip()]


def read_texts(files: Sequence[Path]) -> Iterator[str]:
    """Every document of the training files, one after the other."""
    for part in text_parts(files):
        yield from part.texts
