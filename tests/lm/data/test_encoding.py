"""The fast library gives exactly the ids of `tokenizers`, whatever stands in a text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import gigatoken
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from explicitlm.lm.data import encoding
from explicitlm.lm.data.encoding import Encode, Encoder, Packed, fast_encode
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
MARKS = 1, 2
CHINESE = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出，。！？「」"
pieces = st.one_of(st.text(), st.text(alphabet=CHINESE), st.sampled_from(ODD), st.from_regex(r"[a-z]{1,9} \d{1,4}"))
documents = st.lists(st.lists(pieces, max_size=6).map("".join), max_size=8)


@pytest.fixture(scope="module")
def trained() -> TextTokenizer:
    words = ["the city of Rome", "don't they'll", CHINESE, "été naïve", "1234 5678", *SPECIAL_TOKENS] * 20
    return train_tokenizer(iter(words), 500)


@pytest.fixture(scope="module")
def fast(trained: TextTokenizer) -> Encode:
    loaded = fast_encode(trained.serialised, MARKS)
    assert loaded is not None
    return loaded


@settings(max_examples=300, deadline=None)
@given(documents)
def test_the_same_ids_for_every_text(trained: TextTokenizer, fast: Encode, documents: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in documents]  # without halves of surrogate pairs
    packed = fast(texts)
    right = [trained.encode(text) for text in texts]
    assert packed.ids_T.tolist() == [number for ids in right for number in (MARKS[0], *ids, MARKS[1])]
    assert [packed.document(number) for number in range(len(texts))] == right


def test_special_tokens_in_large_batches_are_plain_text(trained: TextTokenizer) -> None:
    texts = ["".join(SPECIAL_TOKENS) + str(number) for number in range(5000)]  # enough for the fast library
    packed = trained.encode_packed(texts)
    assert min(packed.document(7)) > 3
    assert trained.decode(packed.document(4999)) == texts[4999]


def test_what_the_library_remembers_is_bounded(trained: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps every word that it has seen; a fresh one gives the same ids."""
    monkeypatch.setattr(encoding, "_FRESH_AFTER", 100_000)
    monkeypatch.setattr(encoding, "_FRESH_AFTER_UNSPACED", 10_000)
    loaded: list[str] = []
    load = gigatoken.Tokenizer.from_json

    def counted(serialised: str) -> object:
        loaded.append(serialised)
        return load(serialised)

    monkeypatch.setattr(gigatoken.Tokenizer, "from_json", counted)
    encoder = Encoder(Tokenizer.from_str(trained.serialised), trained.serialised, MARKS)
    for texts, most in (["the city of Rome " * 10] * 1000, 5), ([CHINESE] * 2000, 8):
        before = len(loaded)
        assert len({encoder.encode(texts).ids_T.tobytes() for _ in range(5)}) == 1
        assert 1 < len(loaded) - before < most


def test_texts_of_both_kinds_stay_in_order(trained: TextTokenizer, fast: Encode) -> None:
    texts = ["the city of Rome", CHINESE, CHINESE[::-1], "don't they'll " * 20, "", CHINESE * 9] * 50
    packed = fast(texts)
    assert [trained.decode(packed.document(number)) for number in range(len(texts))] == texts


def test_threads_that_encode_at_once_get_what_one_gets(trained: TextTokenizer, fast: Encode) -> None:
    batches = [[f"{word} {number} {CHINESE[number:]}" * 20 for number in range(30)] for word in ("Rome", "city", "le")]
    alone = [fast(batch).ids_T.tobytes() for batch in batches] * 8
    with ThreadPoolExecutor(6) as pool:
        assert [packed.ids_T.tobytes() for packed in pool.map(fast, batches * 8)] == alone


def test_documents_of_each_batch_are_checked_while_it_is_new(
    trained: TextTokenizer, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong id in one document in ten is found in the first batch; one that a later batch lost is found there."""
    right = fast_encode(trained.serialised, MARKS)
    assert right is not None

    def encode(texts: Sequence[str], wrong: Callable[[int], bool]) -> Packed:
        packed = right(texts)
        ids_T = packed.ids_T.copy()
        ids_T[[packed.ends_D[number] - 1 for number in range(len(texts)) if wrong(number)]] = 7
        return Packed(ids_T, packed.ends_D)

    monkeypatch.setattr(
        encoding, "fast_encode", lambda *_: lambda texts: encode(texts, lambda number: number % 10 == 5)
    )
    encoder = Encoder(Tokenizer.from_str(trained.serialised), trained.serialised, MARKS)
    texts = [f"the city of Rome {number} " * 9 for number in range(1000)]
    packed = encoder.encode(texts)
    assert encoder.distrusted and "give different ids" in logged[0]
    assert [trained.decode(packed.document(number)) for number in (5, 15)] == [texts[5], texts[15]]


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
    packed = Encoder(inner, inner.to_str(), MARKS).encode(texts)
    assert packed.document(7) == inner.encode(texts[7]).ids and "added tokens" in logged[0]
