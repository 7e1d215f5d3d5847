"""Rows of the memory bank: from the knowledge base, or from a tokenised bank that was made before.

Facts come first, in the order of the knowledge base, so that they fill the frozen rows; rows without a fact
are spans of the training text at seeded paths: readable, and in the language of the model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.lm.data.arrays import read_array
from explicitlm.lm.data.hashing import splitmix64
from explicitlm.lm.data.source import find_files
from explicitlm.lm.data.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

MAPPING_NAME = "mapping.json"
_ROWS_AT_ONCE = 1 << 16  # filler rows made at a time


@dataclass(frozen=True)
class Fact:
    """One fact: its sentence and, where the knowledge base gives one, its identifier."""

    sentence: str
    uuid: str | None


@dataclass(frozen=True)
class Knowledge:
    """rows_NL: token ids, uint16, padded; row_of: the row that holds a fact, by the fact's uuid."""

    rows_NL: NDArray[np.uint16]
    row_of: dict[str, int]


def read_facts(path: Path) -> list[Fact]:
    """Facts of every .json file of a knowledge base, in order.

    Accepted: {"target": [{"sentence", "uuid", ...}]}, {"sentence": ...}, {"text": ...}, plain strings.

    Raises:
        DataError: a broken file or an entry of another form, by file and number.
    """
    facts: list[Fact] = []
    for file in find_files(path, (".json",), "the knowledge base"):
        try:
            entries = json.loads(file.read_text(encoding="utf-8-sig"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"{file}: broken JSON ({error})", "correct the file") from None
        if not isinstance(entries, list):
            raise DataError(f"{file} holds {type(entries).__name__}, not a list of facts", "wrap it in [ ]")
        for number, entry in enumerate(entries, start=1):
            facts.extend(_facts_of(entry, f"{file}, entry {number}"))
    return facts


def _facts_of(entry: Any, place: str) -> Iterator[Fact]:
    if isinstance(entry, dict) and isinstance(entry.get("target"), list):
        for target in entry["target"]:
            yield _fact_of(target, place)
    else:
        yield _fact_of(entry, place)


def _fact_of(entry: Any, place: str) -> Fact:
    if isinstance(entry, str):
        return Fact(entry, None)
    if isinstance(entry, dict):
        sentence = entry.get("sentence", entry.get("text"))
        if isinstance(sentence, str):
            uuid = entry.get("uuid")
            return Fact(sentence, uuid if isinstance(uuid, str) else None)
    raise DataError(
        f'{place}: no fact (a string, or an object with "target", "sentence" or "text")',
        "correct the entry in the knowledge base",
    )


def rows_from_facts(
    facts: list[Fact],
    tokenizer: TextTokenizer,
    shape_NL: tuple[int, int],
    text_T: NDArray[np.uint16],
    seed: int,
) -> Knowledge:
    """Fills N rows of L tokens: facts cut and padded to L, then spans of the training text.

    Args:
        facts: more than N are cut to the first N, fewer are followed by spans.
        shape_NL: N and L.
        text_T: the training text's ids.
        seed: of the spans' paths.
    """
    rows, length = shape_NL
    used = facts[:rows]
    if len(used) < len(facts):
        logger.info(
            f"knowledge: the bank has {rows:,} rows; "
            f"the last {len(facts) - rows:,} of {len(facts):,} facts are left out"
        )
    ids = tokenizer.encode_batch([fact.sentence for fact in used])
    long = sum(len(fact_ids) > length for fact_ids in ids)
    if long:
        logger.info(f"knowledge: {long:,} of {len(used):,} facts are longer than {length} tokens and are cut")
    rows_NL = np.full((rows, length), tokenizer.pad_id, dtype=np.uint16)
    for row, fact_ids in enumerate(ids):
        rows_NL[row, : len(fact_ids)] = fact_ids[:length]
    _fill_with_spans(rows_NL[len(used) :], text_T, seed)
    return Knowledge(rows_NL, {fact.uuid: row for row, fact in enumerate(used) if fact.uuid is not None})


def _fill_with_spans(rows_ML: NDArray[np.uint16], text_T: NDArray[np.uint16], seed: int) -> None:
    """Each row gets L tokens of the text that stand together; a text shorter than L is repeated."""
    length = rows_ML.shape[1]
    if text_T.size < length:
        text_T = np.resize(text_T, length)
    paths = np.uint64(text_T.size - length + 1)
    start = splitmix64(np.uint64(seed))
    for first in range(0, len(rows_ML), _ROWS_AT_ONCE):
        part_ML = rows_ML[first : first + _ROWS_AT_ONCE]
        row_M = np.arange(first, first + len(part_ML), dtype=np.uint64)
        place_M = splitmix64(row_M ^ start) % paths
        part_ML[:] = text_T[place_M[:, None].astype(np.int64) + np.arange(length)]


def read_cache(path: Path, shape_NL: tuple[int, int], vocab_size: int) -> Knowledge:
    """A tokenised bank [N, L] and, from `mapping.json` beside it, which row holds which fact.

    The mapping is a list with one uuid or null a row, or an object {uuid: row}.

    Raises:
        DataError: another N or L, ids outside the vocabulary, or a mapping of another form.
    """
    values = read_array(path, "the knowledge cache")
    if values.shape != shape_NL:
        shape = list(values.shape)
        hint = f"set knowledge_num={shape[0]} and knowledge_length={shape[1]}" if len(shape) == 2 else "save [N, L]"
        raise DataError(
            f"the knowledge cache in {path} has shape {shape}, the bank is {list(shape_NL)}",
            f"{hint}, or remove the cache so that the bank is made from the knowledge base",
        )
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= vocab_size:
        raise DataError(
            f"the knowledge cache in {path} holds values that are no token ids below vocab_size={vocab_size}",
            "make it again with this vocabulary",
        )
    folder = path if path.is_dir() else path.parent
    return Knowledge(values.astype(np.uint16), _read_mapping(folder / MAPPING_NAME, shape_NL[0]))


def _read_mapping(file: Path, rows: int) -> dict[str, int]:
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{file}: broken JSON ({error})", "make the cache again") from None
    if isinstance(value, list):
        value = {uuid: row for row, uuid in enumerate(value) if uuid is not None}
    if not isinstance(value, dict) or not all(
        isinstance(uuid, str) and isinstance(row, int) and 0 <= row < rows for uuid, row in value.items()
    ):
        raise DataError(
            f"{file} does not map uuids to rows below {rows}",
            "write a list of uuids, or an object {uuid: row}",
        )
    return value
