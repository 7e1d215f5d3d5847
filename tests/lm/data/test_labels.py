"""Where texts say facts, in words and in tokens; facts read aloud with swapped objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from explicitlm.lm.data import labels as labels_module
from explicitlm.lm.data.aloud import Reciter
from explicitlm.lm.data.batches import Windows
from explicitlm.lm.data.knowledge import Fact, Knowledge, knowledge_of, rows_from_facts
from explicitlm.lm.data.labels import FactFinder, batch_labels, find_labels, labels_path, prepare_labels
from explicitlm.lm.data.token_text import object_span, token_bytes
from explicitlm.lm.data.tokenizer import TextTokenizer, train_tokenizer

FACTS = {
    3: Fact("Ada Cole lives in Oslo.", "a", "Ada Cole", "home", "Oslo"),
    5: Fact("Bo Reed lives in Oslo.", "b", "Bo Reed", "home", "Oslo"),
    6: Fact("Bo Reed plays the harp.", "c", "Bo Reed", "instrument", "harp"),
    7: Fact("陈明的家乡是苏州。", "d", "陈明", "家乡", "苏州"),
    8: Fact("A plain sentence.", None),
}
TEXTS = [
    "Ada Cole lives in Oslo. Bo Reed came to Oslo with a harp.",
    "A harp from Oslo, by nobody. Bo Reedy was in Oslo; an Ada Coleman too.",
    "陈明来自苏州。苏州很美。",
    "Bo Reed plays harpsichord, not the harp.",
]


@pytest.fixture(scope="module")
def spoken() -> TextTokenizer:
    return train_tokenizer(iter(TEXTS), 340)


def test_objects_count_where_their_subject_is_named_and_the_nearest_subject_wins() -> None:
    finder = FactFinder(FACTS)

    def found(text: str) -> list[tuple[str, int, int]]:
        return sorted((text[first:last], first, row) for first, last, row in finder.places(text))

    assert found(TEXTS[0]) == [("Oslo", 18, 3), ("Oslo", 40, 5), ("harp", 52, 6)]
    assert found(TEXTS[1]) == []  # parts of longer words are not the subject
    assert [(words, row) for words, _, row in found(TEXTS[2])] == [("苏州", 7), ("苏州", 7)]
    assert found(TEXTS[3]) == [("harp", 35, 6)]


def test_labels_lie_on_the_tokens_that_say_the_object(spoken: TextTokenizer, tmp_path: Path) -> None:
    ids = [spoken.start_id]
    for text in TEXTS:
        ids += [*spoken.encode(text), spoken.end_id, spoken.start_id]
    tokens = np.array(ids[:-1], dtype=np.uint16)
    found = find_labels(tokens, FACTS, spoken)
    labels = found.between(0, len(tokens))
    table = token_bytes(spoken)
    for row in (3, 5, 6, 7):
        said = b"".join(table[token] for token in tokens[labels == row]).decode(errors="replace")
        assert FACTS[row].object in said and len(said) <= 3 * len(FACTS[row].object) + 2
    assert set(np.unique(labels)) == {-1, 3, 5, 6, 7}
    path = labels_path("x", FACTS, spoken, tmp_path)
    kept = prepare_labels(path, tokens, FACTS, spoken)
    again = prepare_labels(path, tokens[:0], FACTS, spoken)  # from the file: the tokens are not looked at
    for each in (kept, again):
        assert np.array_equal(each.places_K, found.places_K) and np.array_equal(each.rows_K, found.rows_K)
    assert find_labels(tokens, {}, spoken).places_K.size == 0
    windows = Windows(tokens, 8, spoken.pad_id)
    sequences = np.array([len(windows) - 1, 0])
    rows = batch_labels(found, windows, sequences)
    _, targets = windows.batch(sequences)
    assert rows.shape == targets.shape and (rows[targets == spoken.pad_id] == -1).all()
    assert rows[1].tolist() == labels[1:9].tolist()


def test_many_documents_at_once_or_few_give_the_same_labels(
    spoken: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [number for text in TEXTS * 9 for number in (spoken.start_id, *spoken.encode(text), spoken.end_id)]
    tokens = np.array(ids, dtype=np.uint16)
    at_once = find_labels(tokens, FACTS, spoken)
    assert at_once.places_K.size % 9 == 0 and at_once.places_K.size > 0
    for few in (1, 40, 100):
        monkeypatch.setattr(labels_module, "_AT_ONCE", few)
        found = find_labels(tokens, FACTS, spoken)
        assert np.array_equal(found.places_K, at_once.places_K) and np.array_equal(found.rows_K, at_once.rows_K)


def test_bytes_of_tokens_are_the_text(spoken: TextTokenizer) -> None:
    table = token_bytes(spoken)
    for text in [*TEXTS, "naïve – 🙂\t\n"]:
        assert b"".join(table[token] for token in spoken.encode(text)) == text.encode()
    assert object_span(spoken.encode("to Oslo"), "Rome", table) == (0, 0) == object_span([], "x", table)


def people(tokenizer: TextTokenizer) -> tuple[Reciter, Knowledge]:
    names = [f"Citizen {number}" for number in range(12)]
    facts = [Fact(f"{n} pays {7 * i} coins.", n, n, "pays", f"{7 * i} coins") for i, n in enumerate(names)]
    knowledge = rows_from_facts([*facts, Fact("plain", None)], tokenizer, (16, 12), np.arange(4, 99, dtype="<u2"), 0)
    return Reciter(knowledge, tokenizer, 32, seed=1), knowledge


def test_rows_read_aloud_say_another_object_and_so_do_their_rows(tokenizer: TextTokenizer) -> None:
    reciter, knowledge = people(tokenizer)
    aloud = reciter.read(10, 3)
    assert aloud.inputs_ES.shape == aloud.targets_ES.shape == aloud.rows_ES.shape == (3, 32)
    swapped = 0
    for (sequence, row), padded in zip(aloud.swap_M2.tolist(), aloud.token_ML, strict=True):
        said = tokenizer.decode(padded[padded != tokenizer.pad_id].tolist())
        fact = knowledge.facts[row]
        assert said in {fact.sentence.replace(fact.object, other.object) for other in knowledge.facts.values()}
        swapped += said != fact.sentence
        labelled = aloud.targets_ES[sequence][aloud.rows_ES[sequence] == row].tolist()
        a = knowledge.objects_N2[row, 0]
        assert labelled == padded[a : a + len(labelled)].tolist()
    assert swapped >= len(aloud.swap_M2) // 2 and len({*map(tuple, aloud.swap_M2.tolist())}) == len(aloud.swap_M2)
    assert set(np.unique(aloud.rows_ES).tolist()) - {-1} <= set(aloud.swap_M2[:, 1].tolist())


def test_facts_read_aloud_are_documents_of_their_own(tokenizer: TextTokenizer) -> None:
    """Where attention stays within documents, each fact is read from its row and its own words alone."""
    aloud = people(tokenizer)[0].read(0, 3)
    for inputs_S in aloud.inputs_ES:
        starts = np.flatnonzero(inputs_S == tokenizer.start_id)
        ends = np.flatnonzero(inputs_S == tokenizer.end_id)
        assert starts[0] == 0 and len(starts) > 1
        assert (ends[: len(starts) - 1] + 1).tolist() == starts[1:].tolist()


def test_a_sequence_read_aloud_follows_from_its_number_and_all_facts_come_evenly(tokenizer: TextTokenizer) -> None:
    first, second = people(tokenizer)[0], people(tokenizer)[0]
    second.read(3, 1)
    for one, other in zip(first.read(9, 4).part(1, 3), second.read(10, 2), strict=True):
        assert np.array_equal(one, other)
    counts = np.bincount(first.read(0, 80).swap_M2[:, 1], minlength=16)
    assert counts[:12].min() > 0.5 * counts.max() and not counts[12:].any()
    assert np.array_equal(first.rivals(7), second.rivals(7)) and set(first.rivals(7)) <= set(range(13))


def test_without_objects_nothing_is_read_aloud(tokenizer: TextTokenizer) -> None:
    rows = np.full((4, 8), 5, dtype=np.uint16)
    for facts in ({}, {0: Fact("plain", None)}):
        assert len(Reciter(knowledge_of(rows, facts, tokenizer), tokenizer, 16, 0).read(0, 2).inputs_ES) == 0
