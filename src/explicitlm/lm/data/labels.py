"""Which bank row each token of a text comes from: labels that nobody had to write (distant supervision).

In a document that names a fact's subject, every place where its object stands is taken to say that fact. Of several
facts with the same object the one whose subject was named last counts. Such labels are right most of the time and cost
one pass over a text and a knowledge base: subjects are looked for in some MiB at once, by their first bytes. Kept are
the labelled tokens alone, so a text that says few facts costs little.
"""

from __future__ import annotations

import hashlib
import logging
import os
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from explicitlm.lm.data.batches import Windows
from explicitlm.lm.data.knowledge import Fact
from explicitlm.lm.data.slow_work import SlowWork
from explicitlm.lm.data.token_text import token_bytes
from explicitlm.lm.data.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

_FORMAT = 2  # part of the file's name: raise it when labels are found in another way
_PREFIX = 8  # bytes of a subject, at most, that are looked up before the whole of it is
_TABLE_BITS = 20  # of the table that says which first bytes are none of a subject's
_AT_ONCE = 1 << 19  # tokens that are looked through at once


@dataclass(frozen=True)
class Labels:
    """The K tokens of a text whose bank row is known: their places, ascending, and rows, both int64."""

    places_K: NDArray[np.int64]
    rows_K: NDArray[np.int64]

    def between(self, start: int, stop: int) -> NDArray[np.int64]:
        """The rows of the tokens start to stop, -1 where none is known."""
        rows = np.full(stop - start, -1, dtype=np.int64)
        first, last = np.searchsorted(self.places_K, (start, stop))
        rows[self.places_K[first:last] - start] = self.rows_K[first:last]
        return rows


def labels_path(source_digest: str, facts: Mapping[int, Fact], tokenizer: TextTokenizer, cache: Path) -> Path:
    """Where the labels of a text, known by its tokens' digest, lie in a cache folder."""
    key = hashlib.sha256(f"{_FORMAT}\n{source_digest}\n{tokenizer.digest}\n".encode())
    for row, fact in facts.items():
        key.update(f"{row}\t{fact.subject}\t{fact.object}\n".encode())
    return cache / f"{key.hexdigest()[:32]}.npy"


def prepare_labels(
    path: Path, tokens_T: NDArray[np.uint16], facts: Mapping[int, Fact], tokenizer: TextTokenizer
) -> Labels:
    """The labels of a text, found once and kept.

    Args:
        path: see `labels_path`.
        tokens_T: packed documents; looked at only where there is no such file.
        facts: by bank row.
        tokenizer: that wrote them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            labels = find_labels(tokens_T, facts, tokenizer)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            with temporary.open("wb") as file:
                np.save(file, np.stack([labels.places_K, labels.rows_K]))
            temporary.replace(path)
            share = labels.places_K.size / max(tokens_T.size, 1)
            logger.info(f"labels: {share:.0%} of {tokens_T.size:,} tokens are the object of a known fact")
    places_K, rows_K = np.load(path, mmap_mode="r")
    return Labels(places_K, rows_K)


def find_labels(tokens_T: NDArray[np.uint16], facts: Mapping[int, Fact], tokenizer: TextTokenizer) -> Labels:
    """As `prepare_labels`, without keeping anything."""
    table = token_bytes(tokenizer)
    size_V = np.zeros(1 << 16, dtype=np.int64)
    size_V[: len(table)] = [len(piece) for piece in table]
    finder = FactFinder(facts)
    places, rows = array("q"), array("q")
    ends = np.flatnonzero(tokens_T == tokenizer.end_id) + 1 if facts else np.zeros(0, dtype=np.int64)
    with SlowWork("looking for facts in the text", tokens_T.nbytes) as work:
        for start, stops in _batches(ends):
            for place, rows_T in _rows_of_documents(tokens_T[start : stops[-1]], stops - start, finder, table, size_V):
                known = np.flatnonzero(rows_T >= 0)
                places.frombytes((start + place + known).tobytes())
                rows.frombytes(rows_T[known].tobytes())
            work.advance(2 * int(stops[-1] - start))
    return Labels(np.array(places, dtype=np.int64), np.array(rows, dtype=np.int64))


def _batches(ends: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Whole documents of about `_AT_ONCE` tokens: where the first one starts, and where each ends."""
    start = number = 0
    while number < len(ends):
        following = max(int(np.searchsorted(ends, start + _AT_ONCE)), number + 1)
        yield start, ends[number:following]
        start, number = int(ends[following - 1]), following


def _rows_of_documents(
    tokens_T: NDArray[np.uint16],
    stops_D: NDArray[np.int64],
    finder: FactFinder,
    table: list[bytes],
    size_V: NDArray[np.int64],
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Of each document that says a fact, its first token and the rows of its tokens, -1 where none is known."""
    raw = b"".join([table[token] for token in tokens_T.tolist() if token < len(table)])
    end_T = size_V[tokens_T].cumsum()
    byte_D = end_T[stops_D - 1]
    named: dict[int, set[str]] = defaultdict(set)
    for place, subjects in finder.starts(raw):
        named[int(np.searchsorted(byte_D, place, side="right"))].update(subjects)
    for number in sorted(named):
        first, stop = (int(stops_D[number - 1]), int(byte_D[number - 1])) if number else (0, 0)
        part = raw[stop : byte_D[number]]
        text = part.decode("utf-8", errors="replace")
        found = list(finder.places(text, named[number]))
        if not found:
            continue
        rows_T = np.full(stops_D[number] - first, -1, dtype=np.int64)
        ends_T = end_T[first : stops_D[number]] - stop
        byte_of = None if len(text) == len(part) else _byte_places(text)
        for low, high, row in found:
            a, b = (low, high) if byte_of is None else (byte_of[low], byte_of[high])
            a, b = np.searchsorted(ends_T, (a, b - 1), side="right")
            rows_T[a : b + 1] = row
        yield first, rows_T


def _byte_places(text: str) -> NDArray[np.int64]:
    """The byte at which each character starts, and the end."""
    return np.concatenate([[0], np.cumsum([len(character.encode()) for character in text])])


class FactFinder:
    """Finds where a text says facts.

    Args:
        facts: by bank row; those without subject or object are never found.
    """

    def __init__(self, facts: Mapping[int, Fact]) -> None:
        self._facts_by_subject: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for row, fact in facts.items():
            if fact.subject and fact.object:
                self._facts_by_subject[fact.subject].append((fact.object, row))
        by_length: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for subject in self._facts_by_subject:
            start = subject.encode()[:_PREFIX]
            by_length[len(start)][int.from_bytes(start, "little")].append(subject)
        self._starts = [_Starts(length, subjects) for length, subjects in by_length.items()]
        self._order = {subject: place for place, subject in enumerate(self._facts_by_subject)}

    def starts(self, raw: bytes) -> Iterator[tuple[int, list[str]]]:
        """Bytes of a text at which the first bytes of some subjects stand, in no order."""
        padded = raw + bytes(_PREFIX)
        for first in range(_PREFIX):  # every eighth place, as numbers of eight bytes
            words_K = np.frombuffer(padded, "<u8", (len(padded) - first) // _PREFIX, first)
            for starts in self._starts:
                for place, subjects in starts.among(words_K):
                    yield first + _PREFIX * place, subjects

    def places(self, text: str, subjects: Collection[str] | None = None) -> Iterator[tuple[int, int, int]]:
        """(first character, end, row) of every object said about a subject that the text names, in no order.

        Args:
            text: one document.
            subjects: no others can stand in it; None: all may.
        """
        if subjects is None:
            subjects = {subject for _, some in self.starts(text.encode()) for subject in some}
        sources_by_object: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for subject in sorted(subjects, key=self._order.__getitem__):
            if next(_occurrences(text, subject), None) is not None:
                for object_text, row in self._facts_by_subject[subject]:
                    sources_by_object[object_text].append((subject, row))
        for object_text, sources in sources_by_object.items():
            for place in _occurrences(text, object_text):
                row = max(sources, key=lambda source: text.rfind(source[0], 0, place))[1]
                yield place, place + len(object_text), row


class _Starts:
    """Looks up the first bytes of subjects, all of one length, in a text that is read as numbers of eight bytes."""

    def __init__(self, length: int, subjects: Mapping[int, list[str]]) -> None:
        self._subjects, self._mask = subjects, np.uint64((1 << 8 * length) - 1)
        self._maybe = np.zeros(1 << _TABLE_BITS, dtype=bool)
        self._maybe[self._slots(np.array(list(subjects), dtype=np.uint64))] = True

    def among(self, words_K: NDArray[np.uint64]) -> Iterator[tuple[int, list[str]]]:
        """Which words begin as subjects do, and those subjects."""
        starts_K = words_K & self._mask
        for place in np.flatnonzero(self._maybe[self._slots(starts_K)]).tolist():
            if found := self._subjects.get(int(starts_K[place])):
                yield place, found

    @staticmethod
    def _slots(starts_K: NDArray[np.uint64]) -> NDArray[np.uint64]:
        with np.errstate(over="ignore"):
            return np.asarray((starts_K * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _TABLE_BITS))


def _occurrences(text: str, phrase: str) -> Iterator[int]:
    """Where words stand in a text and are not a part of a longer word."""
    place = text.find(phrase)
    while place >= 0:
        if not (_joined(text, place) or _joined(text, place + len(phrase))):
            yield place
        place = text.find(phrase, place + 1)


def _joined(text: str, place: int) -> bool:
    """Whether a Latin word or a number goes on across a place; scripts without spaces never do."""
    pair = text[max(place - 1, 0) : place + 1]
    return place > 0 and len(pair) == 2 and pair.isascii() and pair.isalnum()


def batch_labels(labels: Labels, windows: Windows, sequences_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows [B, S] of a batch's targets, -1 where none is known or the sequence is padding."""
    starts = (sequences_B * windows.length + 1).tolist()
    return np.stack([labels.between(start, start + windows.length) for start in starts])
