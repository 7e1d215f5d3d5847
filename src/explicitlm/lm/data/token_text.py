"""Which characters each token stands for: what ties a text's places to its tokens without tokenising it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from tokenizers import pre_tokenizers

from explicitlm.lm.data.tokenizer import TextTokenizer


def token_bytes(tokenizer: TextTokenizer) -> list[bytes]:
    """The UTF-8 bytes of every token, by id; special tokens have none.

    A byte-level vocabulary writes each byte as one printable character: those that are printable as themselves, the
    others, in order, as characters from U+0100 on (GPT-2's table).
    """
    return list(_token_bytes(tokenizer.serialised))


@lru_cache(maxsize=4)
def _token_bytes(serialised: str) -> tuple[bytes, ...]:
    content = json.loads(serialised)
    vocab: dict[str, int] = content["model"]["vocab"]
    special = {token["id"] for token in content.get("added_tokens", [])}
    alphabet = _byte_alphabet()
    table = [b""] * (max(vocab.values(), default=-1) + 1)
    for text, number in vocab.items():
        if number not in special:
            plain = all(character in alphabet for character in text)
            table[number] = bytes(alphabet[c] for c in text) if plain else text.encode()
    return tuple(table)


def _byte_alphabet() -> dict[str, int]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
    assert set(table) == set(pre_tokenizers.ByteLevel.alphabet())
    return table


def object_span(tokens: Sequence[int], object_text: str, table: Sequence[bytes]) -> tuple[int, int]:
    """The places [a, b) of the tokens that say `object_text` where it stands last; (0, 0) where it does not stand.

    Places are found by characters: a tokenizer may join a word with its neighbour, or write it in another way inside a
    sentence than alone.
    """
    pieces = [table[token] if token < len(table) else b"" for token in tokens]
    start = b"".join(pieces).rfind(object_text.encode()) if object_text else -1
    if start < 0:
        return 0, 0
    stop, place, first, end = start + len(object_text.encode()), 0, len(pieces), 0
    for number, piece in enumerate(pieces):
        if place < stop and place + len(piece) > start and piece:
            first, end = min(first, number), number + 1
        place += len(piece)
    return first, end
