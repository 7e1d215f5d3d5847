"""The fast library gives exactly the ids of `tokenizers`, whatever stands in a text."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from explicitlm.lm.data import encoding
from explicitlm.lm.data.encoding import Encode, Encoded, Encoder, fast_encode, pack
from explicitlm.lm.data.tokenizer import SPECIAL_TOKENS, TextTokenizer, train_tokenizer

ODD = [
    "",
    " ",
    "\n\n\t",
    "\x00\x01\x7f",
    "\ufeff",
    "e\u0301\u200d",
    "👩‍👩‍👧‍👦🇫🇷",
    "ﷺ",
    "\U0010ffff",
    "don't  they'LL",
    *SPECIAL_TOKENS,
]
CHINESE = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出，。！？「」"
pieces = st.one_of(st.text(), st.text(alphabet=CHINESE), st.sampled_from(ODD), st.from_regex(r"[a-z]{1,9} \d{1,4}"))
documents = st.lists(st.lists(pieces, max_size=6).map("".join), max_size=8)


@pytest.fixture(scope="module")
def trained() -> TextTokenizer:
    words = ["the city of Rome", "don't they'll", CHINESE, "été naïve", "1234 5678", *SPECIAL_TOKENS] * 20
    return train_tokenizer(iter(words), 500)


@pytest.fixture(scope="module")
def fast(trained: TextTokenizer) -> Encode:
    loaded = fast_encode(trained.serialised)
    assert loaded is not None
    return loaded


@settings(max_examples=300, deadline=None)
@given(documents)
def test_the_same_ids_for_every_text(trained: TextTokenizer, fast: Encode, documents: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in documents]  # without halves of surrogate pairs
    encoded = fast(texts)
    assert [encoded.document(number) for number in range(len(texts))] == trained.encode_batch(texts)
    assert encoded.bounds.tolist() == np.cumsum([0, *map(len, trained.encode_batch(texts))]).tolist()


def test_special_tokens_in_large_batches_are_plain_text(trained: TextTokenizer) -> None:
    texts = ["".join(SPECIAL_TOKENS) + str(number) for number in range(5000)]  # enough for the fast library
    encoded = trained.encode_flat(texts)
    assert int(encoded.ids_T.min()) > 3
    assert trained.decode(encoded.document(4999)) == texts[4999]


def test_what_the_library_remembers_is_bounded(trained: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps every word that it has seen; a fresh one gives the same ids."""
    loaded: list[str] = []

    def load(serialised: str) -> Encode | None:
        loaded.append(serialised)
        return fast_encode(serialised)

    monkeypatch.setattr(encoding, "fast_encode", load)
    monkeypatch.setattr(encoding, "_FRESH_AFTER", 100_000)
    encoder = Encoder(Tokenizer.from_str(trained.serialised), trained.serialised)
    texts = ["the city of Rome " * 10] * 1000
    assert len({encoder.encode(texts).ids_T.tobytes() for _ in range(5)}) == 1
    assert 1 < len(loaded) < 5


def test_without_the_library_it_is_slow_and_says_so(
    trained: TextTokenizer, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    texts = ["the city of Rome " * 10] * 1000
    slow = TextTokenizer(trained.serialised, "a test").encode_batch(texts)
    assert slow == trained.encode_batch(texts)
    assert len(logged) == 1 and "slower than with gigatoken" in logged[0]


def test_tokens_added_by_a_user_are_left_to_the_exact_library(trained: TextTokenizer, logged: list[str]) -> None:
    inner = Tokenizer.from_str(trained.serialised)
    inner.add_tokens([AddedToken("Rome")])
    texts = ["the city of Rome " * 10] * 1000
    encoded = Encoder(inner, inner.to_str()).encode(texts)
    assert encoded.document(7) == inner.encode(texts[7]).ids and "added tokens" in logged[0]


def test_documents_are_packed_between_their_marks() -> None:
    encoded = Encoded(np.array([7, 8, 9], dtype=np.uint16), np.array([0, 2, 2, 3]))
    assert pack(encoded, 1, 2).tolist() == [1, 7, 8, 2, 1, 2, 1, 9, 2]
    assert pack(Encoded(np.array([], dtype=np.uint16), np.array([0])), 1, 2).tolist() == []
