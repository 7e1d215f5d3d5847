"""Token ids of many texts at once, by the fastest library that gives exactly the ids of `tokenizers`.

`gigatoken` encodes tens of times faster. It is used for tokenizers that it can read, and never on its word: of each
corpus some hundred documents are encoded by both libraries, and one id that differs puts it aside for good.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import json
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

THREADS = min(os.cpu_count() or 1, 8)  # that encode at once; more of them wait for the one that reads
_FAST_FROM = 1 << 16  # characters: below, loading the fast library costs more than it saves
_CHECKED_FIRST, _CHECKED_SOON, _CHECKED_A_MB = 100, 10, 0.25  # documents: at once, in each of the next 10 MB, later on
_CHECKED_START, _CHECKED_WHOLE = 1 << 9, 1 << 13  # characters of each of several documents, and of a single one
# The fast library remembers every stretch between two spaces that it has seen, so it is loaded afresh now and then:
# after many ids where they are words, which come again; soon where they are half sentences, which do not.
_FRESH_AFTER, _FRESH_AFTER_UNSPACED = 1 << 26, 1 << 20
_LOOKED_AT, _SPACED = 128, 1 / 32  # characters of a document, and the share of spaces in them


class Packed(NamedTuple):
    """Ids of D documents end to end, each between its marks: document d ends with the mark ids_T[ends_D[d]]."""

    ids_T: NDArray[np.uint16]
    ends_D: NDArray[np.int64]

    def document(self, number: int) -> list[int]:
        """One document's ids without its marks."""
        start = self.ends_D[number - 1] + 2 if number else 1
        ids: list[int] = self.ids_T[start : self.ends_D[number]].tolist()
        return ids


Encode = Callable[[Sequence[str]], Packed]


class Encoder:
    """Encodes batches of texts; several threads may do so at once.

    Args:
        inner: the tokenizer that decides what is right.
        serialised: its tokenizer.json, for the fast library.
        marks: ids before and after each document.

    Attributes:
        distrusted: the fast library has given a wrong id; what it gave before may be wrong as well.
    """

    def __init__(self, inner: Tokenizer, serialised: str, marks: tuple[int, int]) -> None:
        self._inner, self._serialised, self._marks = inner, serialised, marks
        self._fast: Encode | None = None
        self._asked = self.distrusted = False
        self._seen = self._checked = 0  # characters that came to the fast library, documents that were compared
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Packed:
        """Ids of texts between their marks."""
        fast, count = self._library(texts)
        if fast is None:
            return self._exact(texts)
        packed = fast(texts)
        found = self._difference(fast, texts, packed, count)
        if found is None:
            return packed
        logger.error(f"gigatoken and tokenizers give different ids for {found[:80]!r}: going on with tokenizers alone")
        self._fast, self.distrusted = None, True
        return self._exact(texts)

    def _library(self, texts: Sequence[str]) -> tuple[Encode | None, int]:
        """The fast library, where it is used, and how many of the documents are to be checked."""
        characters = sum(map(len, texts))
        with self._lock:
            if not self._asked and characters >= _FAST_FROM:
                self._asked, self._fast = True, fast_encode(self._serialised, self._marks)
            if self._fast is None:
                return None, 0
            megabytes, self._seen = self._seen / 1e6, self._seen + characters
            soon = _CHECKED_FIRST + _CHECKED_SOON * min(megabytes, 10)
            count = min(int(soon + _CHECKED_A_MB * megabytes) - self._checked, len(texts))
            self._checked += count
            return self._fast, count

    def _difference(self, fast: Encode, texts: Sequence[str], packed: Packed, count: int) -> str | None:
        """The first of some documents whose ids are not those of `tokenizers`."""
        if len(packed.ends_D) != len(texts):
            return texts[0]
        chosen, limit = np.linspace(0, len(texts) - 1, count).astype(int).tolist(), _CHECKED_START
        if count == 1:
            chosen, limit = [packed.ids_T.size % len(texts)], _CHECKED_WHOLE  # another one in each batch
        if not chosen:
            return None
        starts = [texts[number][:limit] for number in chosen]
        again, right = fast(starts), self._exact(starts)
        for place, number in enumerate(chosen):
            ids = right.document(place)
            if again.document(place) != ids or not self._agrees(packed.document(number), ids, texts[number], limit):
                return str(starts[place])
        return None

    def _agrees(self, ids: list[int], start_ids: list[int], text: str, limit: int) -> bool:
        """Whether ids of a text are right, given those of its beginning, the last of which depend on what follows."""
        half = len(start_ids) // 2
        if len(text) <= limit:
            return ids == start_ids
        return ids[:half] == start_ids[:half] or ids == self._exact([text]).document(0)

    def _exact(self, texts: Sequence[str]) -> Packed:
        documents = [item.ids for item in self._inner.encode_batch_fast(list(texts), add_special_tokens=False)]
        start, end = self._marks
        ends_D = np.cumsum([len(ids) + 2 for ids in documents], dtype=np.int64) - 1
        stream = itertools.chain.from_iterable((start, *ids, end) for ids in documents)
        return Packed(np.fromiter(stream, dtype="<u2", count=int(ends_D[-1]) + 1 if documents else 0), ends_D)


def fast_encode(serialised: str, marks: tuple[int, int]) -> Encode | None:
    """`gigatoken` for a tokenizer.json, or None, with the reason in the log, where it cannot be used."""
    description = json.loads(serialised)
    if any(not token.get("special") for token in description.get("added_tokens") or ()):
        _log_slow_path("the tokenizer has added tokens that are not special")
        return None
    try:
        return _FastLibrary(description, marks).encode
    except Exception as error:  # not installed on this platform, or it cannot read such a tokenizer
        _log_slow_path(str(error) or type(error).__name__)
        return None


def _log_slow_path(reason: str) -> None:
    logger.warning(f"tokenising with tokenizers alone, tens of times slower than with gigatoken: {reason}")


class _FastLibrary:
    """`gigatoken`, for several threads at once.

    Args:
        description: content of a tokenizer.json.
        marks: ids before and after each document.
    """

    def __init__(self, description: dict[str, Any], marks: tuple[int, int]) -> None:
        from gigatoken import BytesSource
        from gigatoken import Tokenizer as FastTokenizer

        # It takes special tokens that stand in a text as special; ours must stay text. Not knowing them, it does. In
        # their place come marks that no text can hold: it gives many documents joined by them as one array of ids.
        start, end = (f"\0{secrets.token_hex(16)}" for _ in marks)
        plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added = [
            {"id": number, "content": text, "special": True, **plain}
            for number, text in sorted(zip(marks, (start, end), strict=True))
        ]
        serialised = json.dumps({**description, "added_tokens": added})
        load = functools.partial(FastTokenizer.from_json, serialised)
        self._source, self._between, self._end = BytesSource, (end + start).encode(), marks[1]
        # Few instances for words, since each has to see them first
        self._spaced = _Instances(load, max(THREADS // 2, 1), _FRESH_AFTER)
        self._unspaced = _Instances(load, THREADS, _FRESH_AFTER_UNSPACED)
        with self._spaced.taken():
            pass  # it can read such a tokenizer

    def encode(self, texts: Sequence[str]) -> Packed:
        """Ids of texts between their marks."""
        pieces = [self._ids(unspaced, run) for unspaced, run in itertools.groupby(texts, _is_unspaced)]
        ids_T = np.concatenate([np.empty(0, dtype=np.uint32), *pieces], dtype="<u2", casting="unsafe")
        return Packed(ids_T, np.flatnonzero(ids_T == self._end))

    def _ids(self, unspaced: bool, texts: Iterable[str]) -> NDArray[np.uint32]:
        joined = self._source(self._between.join([b"", *(text.encode() for text in texts), b""]))
        with (self._unspaced if unspaced else self._spaced).taken() as instance:
            # Without a list of documents it needs no awkward, which takes 0.2 s to import.
            (ids_T,), _ = instance.tokenizer.encode_batch_padded(joined, 0, parallel=False)
            instance.ids += ids_T.size
        inner_T: NDArray[np.uint32] = ids_T[1:-1]  # without an end before the first and a start after the last
        return inner_T


class _Instance:
    """One loaded tokenizer, which encodes for one thread at a time. ids: how many it has given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.ids = tokenizer, 0


class _Instances:
    """At most `most` loaded tokenizers, each loaded afresh after `fresh_after` ids."""

    def __init__(self, load: Callable[[], Any], most: int, fresh_after: int) -> None:
        self._load, self._fresh_after = load, fresh_after
        self._slots = threading.Semaphore(most)
        self._free: list[_Instance] = []

    @contextmanager
    def taken(self) -> Iterator[_Instance]:
        """One that nobody else uses meanwhile."""
        with self._slots:
            instance = self._free.pop() if self._free else None
            if instance is None or instance.ids >= self._fresh_after:
                instance = None
                _return_freed_memory()
                instance = _Instance(self._load())
            yield instance
            self._free.append(instance)


def _return_freed_memory() -> None:
    """Gives the pages of an instance that is gone back to Linux: left to itself, glibc keeps some for each thread."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # musl has none
        trim(0)


def _is_unspaced(text: str) -> bool:
    """Whether a text is in a script without spaces between words; it never changes ids, only who gives them."""
    start = text[:_LOOKED_AT]
    return start.count(" ") < len(start) * _SPACED
