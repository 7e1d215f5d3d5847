"""Knowledge in every accepted form, and clear words about every other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from explicitlm.common.errors import DataError
from explicitlm.lm.data.knowledge import Fact, read_cache, read_facts, rows_from_facts
from explicitlm.lm.data.tokenizer import TextTokenizer

TEXT = np.arange(4, 304, dtype=np.uint16)


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_all_forms_in_the_order_of_the_files(tmp_path: Path) -> None:
    write(tmp_path / "b.json", ["plain", {"text": "t"}, {"sentence": "s", "uuid": "u"}])
    write(tmp_path / "a.json", [{"target": [{"sentence": "x", "uuid": "1", "subject": "S"}, {"sentence": "y"}]}])
    facts = read_facts(tmp_path)
    assert facts == [Fact("x", "1", "S"), Fact("y", None), Fact("plain", None), Fact("t", None), Fact("s", "u")]
    assert [(fact.file, fact.line) for fact in facts] == [("a.json", 1)] * 2 + [("b.json", 1)] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{]", r"k\.json: broken JSON"),
        ({"a": 1}, r"k\.json holds dict, not a list"),
        (["fine", {"subject": "x"}], r"k\.json, entry 2: no fact"),
        ([{"target": [{"uuid": "x"}]}], r"k\.json, entry 1: no fact"),
        ([7], r"k\.json, entry 1: no fact"),
    ],
)
def test_other_forms_are_named(tmp_path: Path, content: Any, message: str) -> None:
    write(tmp_path / "k.json", content)
    with pytest.raises(DataError, match=message):
        read_facts(tmp_path)


def test_rows_are_facts_then_spans_of_the_text(tokenizer: TextTokenizer, logged: list[str]) -> None:
    facts = [Fact("Rome", "a"), Fact("Citizen 7 lives in Rome and pays 49 coins.", "b")]
    knowledge = rows_from_facts(facts, tokenizer, (9, 4), TEXT, 1337)
    rows = knowledge.rows_NL
    assert rows.shape == (9, 4) and rows.dtype == np.uint16
    ids = tokenizer.encode("Rome")
    assert rows[0].tolist() == [*ids, *[tokenizer.pad_id] * 4][:4]
    assert rows[1].tolist() == tokenizer.encode(facts[1].sentence)[:4]
    assert logged[0] == "knowledge: 1 of 2 facts are longer than 4 tokens and are cut"
    assert logged[1].startswith("knowledge: 2 of 2 facts name no object: they are found by all of their words")
    for row in rows[2:].astype(int):
        assert (np.diff(row) == 1).all()  # the text counts upwards: a span does too
    assert len({tuple(row) for row in rows[2:]}) > 3
    assert knowledge.row_of == {"a": 0, "b": 1}
    again = rows_from_facts(facts, tokenizer, (9, 4), TEXT, 1337)
    other = rows_from_facts(facts, tokenizer, (9, 4), TEXT, 7)
    assert np.array_equal(rows, again.rows_NL) and not np.array_equal(rows, other.rows_NL)


def test_more_facts_than_rows_are_cut_with_a_message(tokenizer: TextTokenizer, logged: list[str]) -> None:
    facts = [Fact("Rome", f"id-{number}") for number in range(6)]
    knowledge = rows_from_facts(facts, tokenizer, (4, 4), TEXT, 0)
    assert knowledge.row_of == {f"id-{number}": number for number in range(4)}
    assert logged[0] == "knowledge: the bank has 4 rows; the last 2 of 6 facts are left out"
    assert logged[1] == "knowledge: 3 of 4 facts repeat the sentence of another"
    assert knowledge.left_out == 2
    long = rows_from_facts([Fact("Rome is the capital of Italy", "id"), Fact("R", "id-2")], tokenizer, (4, 2), TEXT, 0)
    assert (long.left_out, long.cut) == (0, 1)


def test_a_text_shorter_than_a_row_is_repeated(tokenizer: TextTokenizer) -> None:
    knowledge = rows_from_facts([], tokenizer, (4, 8), TEXT[:3], 0)
    assert knowledge.rows_NL[0].tolist() == [4, 5, 6, 4, 5, 6, 4, 5]


@pytest.mark.parametrize("form", ["npy", "pt", "dict", "safetensors"])
def test_a_cache_in_every_format_with_its_mapping(tmp_path: Path, tokenizer: TextTokenizer, form: str) -> None:
    rows = np.arange(32, dtype=np.int64).reshape(4, 8)
    if form == "npy":
        np.save(tmp_path / "bank.npy", rows)
    elif form == "safetensors":
        save_file({"rows": rows}, tmp_path / "bank.safetensors")
    else:
        tensor = torch.from_numpy(rows)
        torch.save({"rows": tensor} if form == "dict" else tensor, tmp_path / "bank.pt")
    write(tmp_path / "mapping.json", ["a", None, "b", None] if form == "npy" else {"a": 0, "b": 2})
    knowledge = read_cache(tmp_path, (4, 8), 320, [], tokenizer)
    assert np.array_equal(knowledge.rows_NL, rows) and knowledge.row_of == {"a": 0, "b": 2}


def test_a_cache_for_another_bank_is_refused(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    np.save(tmp_path / "bank.npy", np.zeros((9, 8), dtype=np.int64))
    with pytest.raises(DataError, match=r"has shape \[9, 8\], the bank is \[4, 8\]") as caught:
        read_cache(tmp_path, (4, 8), 320, [], tokenizer)
    assert "knowledge_num=9 and knowledge_length=8" in caught.value.hint
    np.save(tmp_path / "bank.npy", np.full((4, 8), 320))
    with pytest.raises(DataError, match="no token ids below vocab_size=320"):
        read_cache(tmp_path, (4, 8), 320, [], tokenizer)
    np.save(tmp_path / "bank.npy", np.zeros((4, 8), dtype=np.int64))
    write(tmp_path / "mapping.json", {"a": 4})
    with pytest.raises(DataError, match="does not map uuids to rows below 4"):
        read_cache(tmp_path, (4, 8), 320, [], tokenizer)


def test_unreadable_and_ambiguous_arrays(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    (tmp_path / "bank.pt").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        read_cache(tmp_path, (4, 8), 320, [], tokenizer)
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "bank.pt")
    with pytest.raises(DataError, match="holds dict, not one tensor"):
        read_cache(tmp_path, (4, 8), 320, [], tokenizer)
    np.save(tmp_path / "other.npy", np.zeros(1))
    with pytest.raises(DataError, match=r"holds 2 arrays \(bank.pt, other.npy\)"):
        read_cache(tmp_path, (4, 8), 320, [], tokenizer)


def test_every_fact_knows_its_line(tmp_path: Path) -> None:
    facts = [{"target": [{"sentence": f"s{number}"}]} for number in range(3)]
    write(tmp_path / "k.json", json.dumps(facts, indent=1))
    assert [fact.line for fact in read_facts(tmp_path)] == [2, 9, 16]


@pytest.mark.parametrize("broken", ['["a" "b"]', '["a",]', '["a"] x', '["a"', "", '["a", ]'])
def test_broken_lists_are_named(tmp_path: Path, broken: str) -> None:
    write(tmp_path / "k.json", broken)
    with pytest.raises(DataError, match="broken JSON"):
        read_facts(tmp_path)


def test_objects_are_found_in_their_rows_and_told_where_they_are_not(
    tokenizer: TextTokenizer, logged: list[str]
) -> None:
    facts = [
        Fact("Citizen 7 lives in Rome.", "a", "Citizen 7", "home", "Rome"),
        Fact("Citizen 9 lives in Rome and pays 63 coins and leaves.", "b", "Citizen 9", "deed", "leaves"),
        Fact("Citizen 7 lives in Oslo.", "c", "Citizen 7", "home", "Oslo"),
    ]
    knowledge = rows_from_facts(facts, tokenizer, (4, 12), TEXT, 0)
    for row in (0, 2):
        a, b = knowledge.objects_N2[row]
        assert tokenizer.decode(knowledge.rows_NL[row, a:b].tolist()).strip() == facts[row].object
    assert knowledge.objects_N2[1].tolist() == [0, 0]
    assert any("1 of 3 facts do not say their object within a row" in line for line in logged)
    assert any("1 subjects have several objects" in line and "Citizen 7, home" in line for line in logged)


def test_a_cache_of_another_knowledge_base_is_refused(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    known = Fact("Rome", "a", "x", "y", "Rome", "k.json", 3)
    rows = rows_from_facts([known], tokenizer, (4, 8), TEXT, 0).rows_NL
    np.save(tmp_path / "bank.npy", rows)
    write(tmp_path / "mapping.json", {"a": 0})
    assert read_cache(tmp_path, (4, 8), 320, [known], tokenizer).facts[0].line == 3
    with pytest.raises(DataError, match=r"another tokenizer or from another knowledge base: .* row 0 says 'Rome'"):
        read_cache(tmp_path, (4, 8), 320, [Fact("Oslo", "a")], tokenizer)
    np.save(tmp_path / "bank.npy", np.where(rows < 300, rows + 1, rows))  # ids of another tokenizer
    with pytest.raises(DataError, match="another tokenizer or from another knowledge base"):
        read_cache(tmp_path, (4, 8), 320, [known], tokenizer)
    with pytest.raises(DataError, match="maps fact a, which the knowledge base does not hold"):
        read_cache(tmp_path, (4, 8), 320, [Fact("Rome", "b")], tokenizer)


def test_a_number_is_an_identifier_too(tmp_path: Path) -> None:
    write(tmp_path / "a.json", [{"sentence": "x", "uuid": 7}, {"sentence": "y", "uuid": ""}])
    assert [fact.uuid for fact in read_facts(tmp_path)] == ["7", None]
    write(tmp_path / "a.json", [{"sentence": "x", "uuid": 7.5}])
    with pytest.raises(DataError, match=r'a\.json, entry 1: "uuid" is 7\.5'):
        read_facts(tmp_path)


@pytest.mark.parametrize("entry", ['"\\ud800"', '{"sentence": "s", "object": "\\udfff"}', '{"text": "\\ud83d"}'])
def test_half_a_surrogate_pair_is_told_with_file_and_line(tmp_path: Path, entry: str) -> None:
    (tmp_path / "a.json").write_text(f'["fine",\n{entry}]')
    with pytest.raises(DataError, match=r"a.json, entry 2 \(line 2\): half of a surrogate pair"):
        read_facts(tmp_path)
