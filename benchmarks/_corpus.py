"""A made-up corpus of any size in five languages: words of every script, as often as words are (Zipf)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_ALPHABETS = {  # letters by language; Chinese is written without spaces
    "english": "etaoinshrdlucmfwypvbgkjqxz",
    "german": "enisratdhulcgmobwfkzpvüäöß",
    "russian": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "chinese": "".join(chr(0x4E00 + 7 * number) for number in range(2500)),
}
_WORDS = 40_000  # a language
_DOCUMENTS_AT_ONCE = 2000


def write_corpus(path: Path, size: int, seed: int = 7) -> None:
    """JSON lines of about `size` bytes; the documents of the five languages alternate."""
    draw = np.random.default_rng(seed)
    vocabularies = [_vocabulary(name, letters, draw) for name, letters in _ALPHABETS.items()]
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            for name, words in zip(_ALPHABETS, vocabularies, strict=True):
                lengths_D = draw.integers(20, 300, _DOCUMENTS_AT_ONCE // len(_ALPHABETS))
                rank_T = np.exp(draw.random(int(lengths_D.sum())) * np.log(_WORDS)).astype(int) - 1  # Zipf, exponent 1
                space = "" if name == "chinese" else " "
                for rank_d in np.split(rank_T, np.cumsum(lengths_D)[:-1]):
                    text = space.join([words[rank] for rank in rank_d.tolist()])
                    file.write(json.dumps({"text": text, "language": name}, ensure_ascii=False) + "\n")


def _vocabulary(name: str, letters: str, draw: np.random.Generator) -> list[str]:
    """Frequent words are short; one in twelve is followed by a mark, one in forty is a number."""
    longest = 3 if name == "chinese" else 12
    words = []
    for rank in range(_WORDS):
        length = 1 + min(longest - 1, int(draw.poisson(1 + rank / _WORDS * longest / 2)))
        word = "".join(letters[int(place)] for place in len(letters) * draw.random(length) ** 1.5)
        if rank % 40 == 39:
            word = str(int(draw.integers(0, 10_000)))
        words.append(word + (",.;!?。，"[rank % 7] if rank % 12 == 11 else ""))
    return words
