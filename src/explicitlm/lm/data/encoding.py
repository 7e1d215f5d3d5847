"""Token ids of many texts at once, by the fastest library that gives exactly the ids of `tokenizers`.

`gigatoken` encodes tens of times faster. It is used for tokenizers that it can read, and never on its word: of each
corpus some hundred documents are encoded by both libraries, and one id that differs puts it aside for good.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

_FAST_FROM = 1 << 16  # characters: below, loading the fast library costs more than it saves
_FRESH_AFTER = 1 << 26  # ids, of some 200 MB of text: the fast library remembers every word that it has seen
_CHECKED_FIRST, _CHECKED_LATER = 200, 2  # documents of the first batch and of each later one
_CHECKED_CHARS = 1 << 13  # of a document; a longer one is compared by its beginning


class Encoded(NamedTuple):
    """Ids of D documents end to end; document d has ids_T[bounds[d] : bounds[d + 1]], bounds [D + 1]."""

    ids_T: NDArray[np.uint16]
    bounds: NDArray[np.int64]

    def document(self, number: int) -> list[int]:
        """One document's ids."""
        ids: list[int] = self.ids_T[self.bounds[number] : self.bounds[number + 1]].tolist()
        return ids


Encode = Callable[[Sequence[str]], Encoded]


class Encoder:
    """Encodes batches of texts.

    Args:
        inner: the tokenizer that decides what is right.
        serialised: its tokenizer.json, for the fast library.

    Attributes:
        distrusted: the fast library has given a wrong id; what it gave before may be wrong as well.
    """

    def __init__(self, inner: Tokenizer, serialised: str) -> None:
        self._inner, self._serialised = inner, serialised
        self._fast: Encode | None = None
        self._asked = self.distrusted = False
        self._remembered = 0  # ids since the fast library was loaded

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Ids of texts, without special tokens; on all cores."""
        if not self._asked and sum(map(len, texts)) >= _FAST_FROM:
            self._asked, self._fast = True, fast_encode(self._serialised)
            return self._checked(texts, _CHECKED_FIRST)
        if self._fast and self._remembered >= _FRESH_AFTER:  # memory stays flat
            self._fast, self._remembered = fast_encode(self._serialised), 0
        return self._checked(texts, _CHECKED_LATER)

    def _checked(self, texts: Sequence[str], documents: int) -> Encoded:
        if self._fast is None:
            return self._exact(texts)
        encoded = self._fast(texts)
        self._remembered += encoded.ids_T.size
        found = self._difference(texts, encoded, documents)
        if found is None:
            return encoded
        logger.error(f"gigatoken and tokenizers give different ids for {found[:80]!r}: going on with tokenizers alone")
        self._fast, self.distrusted = None, True
        return self._exact(texts)

    def _difference(self, texts: Sequence[str], encoded: Encoded, documents: int) -> str | None:
        """The first of some evenly spread documents whose ids are not those of `tokenizers`."""
        assert self._fast is not None
        chosen = np.unique(np.linspace(0, len(texts) - 1, min(documents, len(texts))).astype(int)).tolist()
        starts = [texts[number][:_CHECKED_CHARS] for number in chosen]
        again, right = self._fast(starts), self._exact(starts)
        for place, number in enumerate(chosen):
            ids = right.document(place)
            whole = len(texts[number]) <= _CHECKED_CHARS
            if again.document(place) != ids or (whole and encoded.document(number) != ids):
                return str(starts[place])
        return None

    def _exact(self, texts: Sequence[str]) -> Encoded:
        documents = [item.ids for item in self._inner.encode_batch_fast(list(texts), add_special_tokens=False)]
        bounds = np.cumsum([0, *map(len, documents)], dtype=np.int64)
        ids_T = np.fromiter((number for ids in documents for number in ids), dtype=np.uint16, count=int(bounds[-1]))
        return Encoded(ids_T, bounds)


def fast_encode(serialised: str) -> Encode | None:
    """`gigatoken` for a tokenizer.json, or None, with the reason in the log, where it cannot be used."""
    description = json.loads(serialised)
    if any(not token.get("special") for token in description.get("added_tokens") or ()):
        _log_slow_path("the tokenizer has added tokens that are not special")
        return None
    # It takes special tokens that stand in a text as special; ours must stay text. Not knowing them, it does.
    description["added_tokens"] = []
    try:
        from gigatoken import Tokenizer as FastTokenizer

        fast: Any = FastTokenizer.from_json(json.dumps(description))
    except Exception as error:  # not installed on this platform, or it cannot read such a tokenizer
        _log_slow_path(str(error) or type(error).__name__)
        return None

    def encode(texts: Sequence[str]) -> Encoded:
        layout = fast.encode_batch(list(texts)).layout
        bounds = np.asarray(layout.offsets.data, dtype=np.int64)
        ids_T = np.asarray(layout.content.data)[: bounds[-1]].astype(np.uint16)
        return Encoded(ids_T, bounds)

    return encode


def _log_slow_path(reason: str) -> None:
    logger.warning(f"tokenising with tokenizers alone, tens of times slower than with gigatoken: {reason}")


def pack(encoded: Encoded, start_id: int, end_id: int) -> NDArray[np.uint16]:
    """Documents between their marks, end to end, little-endian uint16."""
    documents = len(encoded.bounds) - 1
    packed_T = np.empty(encoded.ids_T.size + 2 * documents, dtype="<u2")
    before = 2 * np.arange(documents)  # marks of the earlier documents
    starts, ends = encoded.bounds[:-1] + before, encoded.bounds[1:] + before + 1
    is_text_T = np.ones(packed_T.size, dtype=bool)
    is_text_T[starts] = is_text_T[ends] = False
    packed_T[starts], packed_T[ends] = start_id, end_id
    packed_T[is_text_T] = encoded.ids_T
    return packed_T
