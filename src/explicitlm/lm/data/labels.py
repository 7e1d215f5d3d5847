"""Which bank row each token of a text comes from: labels that nobody had to write (distant supervision).

In a document that names a fact's subject, every place where its object stands is taken to say that fact. Of several
facts with the same object the one whose subject was named last counts. Such labels are right most of the time and cost
one pass: 3 million characters a second, once for a text and a knowledge base; the result lies beside the token files.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from explicitlm.lm.data.batches import Windows
from explicitlm.lm.data.knowledge import Fact
from explicitlm.lm.data.token_text import token_bytes
from explicitlm.lm.data.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

_FORMAT = 1  # part of the file's name: raise it when labels are found in another way
_PREFIX = 6  # characters of a subject that are looked up before the whole of it is


def prepare_labels(
    tokens_T: NDArray[np.uint16], source_digest: str, facts: Mapping[int, Fact], tokenizer: TextTokenizer, cache: Path
) -> NDArray[np.int32]:
    """The bank row of each token, -1 where none is known; made once and kept.

    Args:
        tokens_T: packed documents.
        source_digest: identifies them.
        facts: by bank row.
        tokenizer: that wrote them.
        cache: folder that holds one file a text and knowledge base.
    """
    key = hashlib.sha256(f"{_FORMAT}\n{source_digest}\n{tokenizer.digest}\n".encode())
    for row, fact in facts.items():
        key.update(f"{row}\t{fact.subject}\t{fact.object}\n".encode())
    path = cache / f"{key.hexdigest()[:32]}.npy"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            labels_T = find_labels(tokens_T, facts, tokenizer)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            with temporary.open("wb") as file:
                np.save(file, labels_T)
            temporary.replace(path)
            share = float((labels_T >= 0).mean()) if labels_T.size else 0.0
            logger.info(f"labels: {share:.0%} of {labels_T.size:,} tokens are the object of a known fact")
    labels: NDArray[np.int32] = np.load(path, mmap_mode="r")
    return labels


def find_labels(tokens_T: NDArray[np.uint16], facts: Mapping[int, Fact], tokenizer: TextTokenizer) -> NDArray[np.int32]:
    """As `prepare_labels`, without keeping anything."""
    labels_T = np.full(tokens_T.size, -1, dtype=np.int32)
    table = token_bytes(tokenizer)
    size_V = np.zeros(1 << 16, dtype=np.int64)
    size_V[: len(table)] = [len(piece) for piece in table]
    finder = FactFinder(facts)
    ends = np.flatnonzero(tokens_T == tokenizer.end_id) + 1
    for start, stop in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True) if ends.size else ():
        ids = tokens_T[start:stop].tolist()
        raw = b"".join(table[token] for token in ids if token < len(table))
        text = raw.decode("utf-8", errors="replace")
        found = list(finder.places(text))
        if not found:
            continue
        end_T = size_V[tokens_T[start:stop]].cumsum()
        byte_of = None if len(text) == len(raw) else _byte_places(text)
        for first, last, row in found:
            low, high = (first, last) if byte_of is None else (byte_of[first], byte_of[last])
            a, b = np.searchsorted(end_T, (low, high - 1), side="right")
            labels_T[start + a : start + b + 1] = row
    return labels_T


def _byte_places(text: str) -> NDArray[np.int64]:
    """The byte at which each character starts, and the end."""
    return np.concatenate([[0], np.cumsum([len(character.encode()) for character in text])])


class FactFinder:
    """Finds where a text says facts.

    Args:
        facts: by bank row; those without subject or object are never found.
    """

    def __init__(self, facts: Mapping[int, Fact]) -> None:
        self._told: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for row, fact in facts.items():
            if fact.subject and fact.object:
                self._told[fact.subject].append((fact.object, row))
        self._subjects: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for subject in self._told:
            start = subject[:_PREFIX]
            self._subjects[len(start)][start].append(subject)

    def places(self, text: str) -> Iterator[tuple[int, int, int]]:
        """(first character, end, row) of every object said about a subject that the text names, in no order."""
        said: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for subject in self._named(text):
            for words, row in self._told[subject]:
                said[words].append((subject, row))
        for words, sources in said.items():
            for place in _occurrences(text, words):
                row = max(sources, key=lambda source: text.rfind(source[0], 0, place))[1]
                yield place, place + len(words), row

    def _named(self, text: str) -> Iterator[str]:
        for length, subjects in self._subjects.items():
            starts = {text[place : place + length] for place in range(len(text) - length + 1)}
            for start in sorted(starts & subjects.keys()):
                for subject in subjects[start]:
                    if next(_occurrences(text, subject), None) is not None:
                        yield subject


def _occurrences(text: str, words: str) -> Iterator[int]:
    """Where words stand in a text and are not a part of a longer word."""
    place = text.find(words)
    while place >= 0:
        if not (_joined(text, place) or _joined(text, place + len(words))):
            yield place
        place = text.find(words, place + 1)


def _joined(text: str, place: int) -> bool:
    """Whether a Latin word or a number goes on across a place; scripts without spaces never do."""
    pair = text[max(place - 1, 0) : place + 1]
    return place > 0 and len(pair) == 2 and pair.isascii() and pair.isalnum()


def batch_labels(labels_T: NDArray[np.int32], windows: Windows, sequences_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows [B, S] of a batch's targets, -1 where none is known or the sequence is padding."""
    rows_BS = np.full((len(sequences_B), windows.length), -1, dtype=np.int64)
    for row, sequence in enumerate(sequences_B):
        start = int(sequence) * windows.length + 1
        piece = labels_T[start : start + windows.length]
        rows_BS[row, : len(piece)] = piece
    return rows_BS
