"""A made-up corpus of any size in five languages, with the statistics of written language.

Words are as frequent as in Zipf's law with Mandelbrot's offset, frequent ones are short, and lengths of words and of
the stretches between two marks are about those of the language. Half of the documents are English, the others are
shared evenly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WORDS = 40_000  # a language
_OFFSET = 2.7  # Mandelbrot's
_DOCUMENTS_AT_ONCE = 800


class _Language(NamedTuple):
    """letters: frequent ones first; skew: how much more frequent; word: letters of one, mean; clause: words, mean."""

    letters: str
    skew: float
    word: float
    clause: float
    space: str
    marks: str
    share: float


_LANGUAGES = {
    "english": _Language("etaoinshrdlucmfwypvbgkjqxz", 1.5, 4.7, 9, " ", ",.", 0.5),
    "german": _Language("enisratdhulcgmobwfkzpvüäöß", 1.5, 5.8, 9, " ", ",.", 0.125),
    "russian": _Language("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", 1.5, 5.5, 8, " ", ",.", 0.125),
    "arabic": _Language("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", 1.5, 4.6, 10, " ", "،.", 0.125),
    "chinese": _Language("".join(chr(0x4E00 + 7 * number) for number in range(2500)), 5, 1.6, 6, "", "，。", 0.125),
}
LANGUAGES: Collection[str] = tuple(_LANGUAGES)


def write_corpus(path: Path, size: int, languages: Collection[str] = LANGUAGES, seed: int = 7) -> None:
    """JSON lines of about `size` bytes; blocks of documents of the languages alternate."""
    draw = np.random.default_rng(seed)
    pieces = {name: _Pieces(name, language, draw) for name, language in _LANGUAGES.items()}
    chosen: Mapping[str, float] = {name: _LANGUAGES[name].share for name in languages}
    with path.open("wb") as file:
        while file.tell() < size:
            for name, share in chosen.items():
                documents = round(_DOCUMENTS_AT_ONCE * share / sum(chosen.values()))
                file.write(pieces[name].lines(documents, draw))


class _Pieces:
    """Every piece of a language's lines as bytes: words followed by nothing or a mark, start and end of a line."""

    def __init__(self, name: str, language: _Language, draw: np.random.Generator) -> None:
        words = _vocabulary(language, draw)
        ends = ["", *language.marks]
        pieces = [word + end + language.space for end in ends for word in words]
        encoded = [piece.encode() for piece in [*pieces, '{"text": "', f'", "language": "{name}"}}\n']]
        self._marks, self._clause = len(language.marks), language.clause
        self._start, self._end = len(pieces), len(pieces) + 1
        self._lengths = np.array([len(piece) for piece in encoded])
        self._places = np.cumsum(self._lengths) - self._lengths
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)

    def lines(self, documents: int, draw: np.random.Generator) -> bytes:
        """Some documents as JSON lines; a document has 20 to 1,000 words, about 3 KB as web pages have."""
        words_D = draw.integers(20, 1000, documents)
        total = int(words_D.sum())
        rank_T = _OFFSET * (1 + _WORDS / _OFFSET) ** draw.random(total) - _OFFSET
        mark_T = np.where(draw.random(total) < 1 / self._clause, draw.integers(1, 1 + self._marks, total), 0)
        piece_T = np.minimum(rank_T.astype(np.int64), _WORDS - 1) + _WORDS * mark_T
        ends_D = np.cumsum(words_D)
        bounds_2D = np.stack([ends_D - words_D, ends_D], axis=1).ravel()
        return self._join(np.insert(piece_T, bounds_2D, np.tile([self._start, self._end], documents)))

    def _join(self, piece_T: NDArray[np.int64]) -> bytes:
        length_T = self._lengths[piece_T]
        stop_T = np.cumsum(length_T)
        shift_T = self._places[piece_T] - (stop_T - length_T)
        return bytes(self._bytes[np.arange(stop_T[-1]) + np.repeat(shift_T, length_T)])


def _vocabulary(language: _Language, draw: np.random.Generator) -> list[str]:
    """Words by rank, of frequent letters; their mean length is that of a running text; one in forty is a number."""
    often = np.log1p(np.arange(_WORDS) / _OFFSET) / np.log1p(_WORDS / _OFFSET)  # even over a running text
    lengths = 1 + draw.poisson((language.word - 1) * (0.4 + 1.2 * often))
    words = []
    for rank, length in enumerate(lengths.tolist()):
        places = len(language.letters) * draw.random(length) ** language.skew
        number = str(draw.integers(0, 10_000))
        words.append(number if rank % 40 == 39 else "".join(language.letters[int(place)] for place in places))
    return words
