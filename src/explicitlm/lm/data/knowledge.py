"""Rows of the memory bank: from the knowledge base, or from a tokenised bank that was made before.

Facts come first, in the order of the knowledge base, and their rows are never rewritten; rows without a fact
are spans of the training text at seeded paths: readable, and in the language of the model.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.lm.data.arrays import read_array
from explicitlm.lm.data.hashing import splitmix64
from explicitlm.lm.data.source import FACT_KINDS, find_files
from explicitlm.lm.data.token_text import object_span, token_bytes
from explicitlm.lm.data.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

MAPPING_NAME = "mapping.json"
_SPACE = re.compile(r"[ \t\r\n]*")
_ROWS_AT_ONCE = 1 << 16  # filler rows made at a time


@dataclass(frozen=True)
class Fact:
    """One fact: its sentence and, where the knowledge base gives them, identifier and triple.

    file, line: where it stands in the knowledge base; line counts from 1 and is that of the entry.
    """

    sentence: str
    uuid: str | None
    subject: str = ""
    predicate: str = ""
    object: str = ""
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Knowledge:
    """What the bank is filled with.

    rows_NL: token ids, uint16, padded; row_of: the row that holds a fact, by the fact's uuid; facts: by row, rows
    without a fact are absent; objects_N2: the places [a, b) of each fact's object, 0 and 0 where it has none.
    left_out: facts for which the bank has no row. cut: facts that are longer than a row.
    """

    rows_NL: NDArray[np.uint16]
    row_of: dict[str, int]
    facts: dict[int, Fact]
    objects_N2: NDArray[np.int16]
    left_out: int = 0
    cut: int = 0


def read_facts(path: Path) -> list[Fact]:
    """Facts of every .json file of a knowledge base, in order.

    Accepted: {"target": [{"sentence", "uuid", ...}]}, {"sentence": ...}, {"text": ...}, plain strings.

    Raises:
        DataError: a broken file or an entry of another form, by file and number.
    """
    facts: list[Fact] = []
    for file in find_files(path, FACT_KINDS, "the knowledge base"):
        try:
            text = file.read_text(encoding="utf-8-sig")
            entries = list(_entries(text))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"{file}: broken JSON ({error})", "correct the file") from None
        except TypeError as error:
            raise DataError(f"{file} holds {error}, not a list of facts", "wrap it in [ ]") from None
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        for number, (line, entry) in enumerate(entries, start=1):
            facts.extend(_facts_of(entry, f"{file}, entry {number}", name, line))
    return facts


def _entries(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list, each with the line on which it starts.

    Raises:
        json.JSONDecodeError: no JSON.
        TypeError: no list; says what instead.
    """
    decoder, place, line = json.JSONDecoder(), _next(text, 0), 1
    if text[place : place + 1] != "[":
        raise TypeError(type(json.loads(text)).__name__)
    counted, place = 0, _next(text, place + 1)
    while text[place : place + 1] != "]":
        line, counted = line + text.count("\n", counted, place), place
        value, place = decoder.raw_decode(text, place)
        yield line, value
        place = _next(text, place)
        if text[place : place + 1] == ",":
            place = _next(text, place + 1)
            if text[place : place + 1] == "]":
                raise json.JSONDecodeError("Illegal trailing comma before end of array", text, place)
        elif text[place : place + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
    if _next(text, place + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, place + 1)


def _next(text: str, place: int) -> int:
    """The next place that is not white space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _facts_of(entry: Any, place: str, file: str, line: int) -> Iterator[Fact]:
    if isinstance(entry, dict) and isinstance(entry.get("target"), list):
        for target in entry["target"]:
            yield _fact_of(target, place, file, line)
    else:
        yield _fact_of(entry, place, file, line)


def _fact_of(entry: Any, place: str, file: str, line: int) -> Fact:
    if isinstance(entry, str):
        return _clean(Fact(entry, None, file=file, line=line), place)
    if isinstance(entry, dict):
        sentence = entry.get("sentence", entry.get("text"))
        if isinstance(sentence, str):
            subject, predicate, object_text = (_text(entry.get(key)) for key in ("subject", "predicate", "object"))
            uuid = id_of(entry.get("uuid"), place)
            return _clean(Fact(sentence, uuid, subject, predicate, object_text, file, line), place)
    raise DataError(
        f'{place}: no fact (a string, or an object with "target", "sentence" or "text")',
        "correct the entry in the knowledge base",
    )


def id_of(value: Any, place: str) -> str | None:
    """The uuid of a fact or item as text: a number counts as its digits; None where there is none.

    Raises:
        DataError: it is neither text nor a whole number.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f'{place}: "uuid" is {value!r}, neither a text nor a whole number', "correct the entry")
    return str(value)


def _clean(fact: Fact, place: str) -> Fact:
    try:
        "".join((fact.sentence, fact.uuid or "", fact.subject, fact.predicate, fact.object)).encode()
    except UnicodeEncodeError:
        raise DataError(f"{place} (line {fact.line}): half of a surrogate pair, which is no character",
                        "correct the entry in the knowledge base") from None  # fmt: skip
    return fact


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def log_duplicates(facts: list[Fact]) -> None:
    """Says how many facts stand twice, and how many say another object than an earlier one; none is left out."""
    duplicates = len(facts) - len({fact.sentence for fact in facts})
    if duplicates:
        logger.info(f"knowledge: {duplicates:,} of {len(facts):,} facts repeat the sentence of another")
    objects: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        if fact.subject and fact.predicate:
            objects.setdefault((fact.subject, fact.predicate), set()).add(fact.object)
    several = [key for key, found in objects.items() if len(found) > 1]
    if several:
        subject, predicate = several[0]
        logger.info(
            f"knowledge: {len(several):,} subjects have several objects of one predicate "
            f"(the first: {subject}, {predicate}); only one of the rows can be read at a time"
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
    log_duplicates(used)
    ids = tokenizer.encode_batch([fact.sentence for fact in used])
    long = sum(len(fact_ids) > length for fact_ids in ids)
    if long:
        logger.info(f"knowledge: {long:,} of {len(used):,} facts are longer than {length} tokens and are cut")
    rows_NL = np.full((rows, length), tokenizer.pad_id, dtype=np.uint16)
    for row, fact_ids in enumerate(ids):
        rows_NL[row, : len(fact_ids)] = fact_ids[:length]
    _fill_with_spans(rows_NL[len(used) :], text_T, seed)
    knowledge = knowledge_of(rows_NL, dict(enumerate(used)), tokenizer)
    return replace(knowledge, left_out=len(facts) - len(used), cut=long)


def knowledge_of(rows_NL: NDArray[np.uint16], facts: dict[int, Fact], tokenizer: TextTokenizer) -> Knowledge:
    """Rows and the facts that some of them hold, with the places of their objects."""
    table = token_bytes(tokenizer)
    objects_N2 = np.zeros((len(rows_NL), 2), dtype=np.int16)
    for row, fact in facts.items():
        if fact.object:
            objects_N2[row] = object_span(rows_NL[row].tolist(), fact.object, table)
    without = sum(bool(fact.object) and not objects_N2[row, 1] for row, fact in facts.items())
    if without:
        logger.info(f"knowledge: {without:,} of {len(facts):,} facts do not say their object within a row")
    plain = sum(not fact.object for fact in facts.values())
    if plain:
        logger.info(
            f"knowledge: {plain:,} of {len(facts):,} facts name no object: they are found by all of their words, "
            "and nothing teaches the router to find them"
        )
    row_of = {fact.uuid: row for row, fact in facts.items() if fact.uuid is not None}
    return Knowledge(rows_NL, row_of, facts, objects_N2)


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


def read_cache(
    path: Path, shape_NL: tuple[int, int], vocab_size: int, facts: list[Fact], tokenizer: TextTokenizer
) -> Knowledge:
    """A tokenised bank [N, L] and, from `mapping.json` beside it, which row holds which fact.

    The mapping is a list with one uuid or null a row, or an object {uuid: row}. Triples and places come from the
    knowledge base.

    Raises:
        DataError: another N or L, ids outside the vocabulary, a mapping of another form, or rows of another tokenizer
            or knowledge base.
    """
    rows_NL = read_cache_rows(path, shape_NL, vocab_size)
    fact_of_row = cached_facts(path, shape_NL[0], facts)
    _check_tokens(path, rows_NL, {row: fact for row, fact in fact_of_row.items() if fact.sentence}, tokenizer)
    return knowledge_of(rows_NL, fact_of_row, tokenizer)


def read_cache_rows(path: Path, shape_NL: tuple[int, int], vocab_size: int) -> NDArray[np.uint16]:
    """The token ids [N, L] of a tokenised bank.

    Raises:
        DataError: another N or L, or ids outside the vocabulary.
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
    return values.astype(np.uint16)


def cached_facts(path: Path, rows: int, facts: list[Fact]) -> dict[int, Fact]:
    """The facts that a tokenised bank holds, by row; those that are unknown by their uuid alone.

    Raises:
        DataError: as `read_cache`, for the mapping.
    """
    folder = path if path.is_dir() else path.parent
    row_of = _read_mapping(folder / MAPPING_NAME, rows)
    known = {fact.uuid: fact for fact in facts if fact.uuid}
    unknown = next((uuid for uuid in row_of if known and uuid not in known), None)
    if unknown is not None:
        raise DataError(
            f"the knowledge cache in {path} maps fact {unknown}, which the knowledge base does not hold",
            "make the cache again from this knowledge base, or remove it",
        )
    return {row: known.get(uuid, Fact("", uuid)) for uuid, row in row_of.items()}


def _check_tokens(path: Path, rows_NL: NDArray[np.uint16], facts: dict[int, Fact], tokenizer: TextTokenizer) -> None:
    """Refuses a cache in which a fact's row is not what this tokenizer makes of the knowledge base's sentence."""
    length = rows_NL.shape[1]
    for (row, fact), ids in zip(
        facts.items(), tokenizer.encode_batch([f.sentence for f in facts.values()]), strict=True
    ):
        row_ids = [int(token) for token in rows_NL[row] if token != tokenizer.pad_id]
        if row_ids != ids[:length]:
            raise DataError(
                f"the knowledge cache in {path} was made with another tokenizer or from another knowledge base: "
                f"with this tokenizer row {row} says {tokenizer.decode(row_ids)!r}, "
                f"fact {fact.uuid} is {fact.sentence!r}",
                "make the cache again from this knowledge base with this tokenizer, or remove it",
            )


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
