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

import orjson

from explicitlm.common.errors import DataError

KINDS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
_EXPANSION = {".gz": 3.0, ".zst": 3.5, ".parquet": 2.0}  # usual bytes of text a byte of file
_CHUNK = 1 << 20  # bytes decompressed at a time
_ROWS = 1024  # of parquet at a time
_PART_CHARS = 4 << 20  # of text in one part

Raw = bytes | dict[str, Any]


class Place(NamedTuple):
    """A place between two records of a list of files: `record` records of file number `file` lie before it."""

    file: int
    record: int


BEGINNING = Place(0, 0)


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
        path: a file of one of `KINDS`; another ending is taken as plain JSON lines.
        skip: records at the start that are not wanted.
        columns: of parquet, those wanted; None: all.

    Raises:
        DataError: the file cannot be decompressed, or is no parquet.
    """
    records: Iterator[Raw]
    if path.suffix == ".parquet":
        records = _parquet_rows(path, columns)
    elif path.suffix == ".zst":
        records = _zstd_lines(path)
    else:
        records = _lines(path)
    return enumerate(itertools.islice(records, skip, None), start=skip + 1)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") if path.suffix != ".gz" else gzip.open(path, "rb") as file:
        try:
            yield from file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: damaged gzip ({error})", "bring the file again") from None


def _zstd_lines(path: Path) -> Iterator[bytes]:
    """Lines of a file of any number of zstd frames; unlike the library's reader it notices a file that is cut off."""
    import zstandard  # two shared libraries that few corpora need

    decoder, rest, fed = zstandard.ZstdDecompressor(max_window_size=1 << 31), b"", False
    frame = decoder.decompressobj()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                while chunk:
                    lines = (rest + frame.decompress(chunk)).split(b"\n")
                    rest = lines.pop()
                    yield from lines
                    chunk, fed = b"", True
                    if frame.eof:
                        chunk, fed = frame.unused_data, False
                        frame = decoder.decompressobj()
        except zstandard.ZstdError as error:
            raise DataError(f"{path}: damaged zstd ({error})", "bring the file again") from None
    if fed:
        raise DataError(f"{path}: damaged zstd (it ends within a frame)", "bring the file again")
    if rest:
        yield rest


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
            wanted = names if columns is None else [name for name in columns if name in names]
            if not wanted:
                raise DataError(
                    f"{path}: no column {' or '.join(columns or ())} (columns: {', '.join(names) or 'none'})",
                    'name the column of the documents "text"',
                )
            for batch in file.iter_batches(_ROWS, columns=wanted):
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


def text_of(path: Path, number: int, value: dict[str, Any]) -> str:
    """The `text` of a training record.

    Raises:
        DataError: it is absent or no string.
    """
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
    size = chars = 0
    end = start
    for file, path in enumerate(files[start.file :], start.file):
        for number, raw in raw_records(path, start.record if file == start.file else 0, ("text",)):
            if isinstance(raw, bytes) and not raw.strip():
                continue
            text = text_of(path, number, parse_record(path, number, raw))
            if not text or text.isspace():
                continue
            texts.append(text)
            size += len(raw) if isinstance(raw, bytes) else len(text)
            chars += len(text)
            end = Place(file, number)
            if chars >= _PART_CHARS:
                yield Part(texts, size, end)
                texts, size, chars = [], 0, 0
    if texts:
        yield Part(texts, size, end)


def read_texts(files: Sequence[Path]) -> Iterator[str]:
    """Every document of the training files, one after the other."""
    for part in text_parts(files):
        yield from part.texts
