"""What is made of a text once is found again: in the next run, in another tree, without the text, in data/cache."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from explicitlm.common.errors import DataError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data import labels
from explicitlm.lm.data import prepare as module
from explicitlm.lm.data.note import Sources, is_noted_text, link_files, noted_files, unread_files
from explicitlm.lm.data.prepare import prepare

CONFIG = TrainConfig(vocab_size=320)


@pytest.fixture
def sources(tmp_path: Path, texts: list[str], write_jsonl: Any) -> Sources:
    write_jsonl(tmp_path / "text/x.jsonl", ({"text": text} for text in texts))
    write_jsonl(tmp_path / "val/x.jsonl", [{"text": "Citizen 3 lives in Rome."}])
    knowledge = [{"text": "Citizen 3 lives in Rome.", "subject": "Citizen 3", "object": "Rome"}]
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge/facts.json").write_text(json.dumps(knowledge))
    return Sources(tmp_path / "text", tmp_path / "val", tmp_path / "knowledge", None, None)


def test_a_known_text_is_not_read_again(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, note = tmp_path / "store", tmp_path / "store/text.json"
    first = prepare(CONFIG, sources, store, note, version="abc.dir")
    monkeypatch.setattr(module, "digest_files", lambda _: pytest.fail("read again"))
    monkeypatch.setattr(labels, "find_labels", lambda *_: pytest.fail("looked through again"))
    assert prepare(CONFIG, sources, store, note).train.digest == first.train.digest  # by the look of its files
    shutil.copytree(tmp_path / "text", tmp_path / "copy")  # another tree: other inodes, the same version
    elsewhere = replace(sources, text=tmp_path / "copy")
    again = prepare(CONFIG, elsewhere, store, tmp_path / "tree/text.json", version="abc.dir")
    assert again.train.digest == first.train.digest and len(list((store / "tokens").glob("*/tokens.bin"))) == 2


def test_a_tree_with_the_prepared_files_needs_no_text(sources: Sources, tmp_path: Path) -> None:
    store, tree = tmp_path / "store", tmp_path / "tree/.explicitlm"
    first = prepare(CONFIG, sources, store, tree / "text.json")
    link_files(first.files, store, tree)
    assert noted_files(tree / "text.json") == first.files and len(first.files) == 6
    assert all((tree / name).stat().st_nlink == 2 for name in first.files)
    assert is_noted_text(sources.text, tree / "text.json")
    shutil.rmtree(sources.text)
    there = prepare(CONFIG, sources, tree, tree / "text.json")
    assert there.train.digest == first.train.digest and there.tokenizer.digest == first.tokenizer.digest
    assert there.labels and first.labels and there.labels.places_K.tolist() == first.labels.places_K.tolist() != []
    with pytest.raises(DataError, match="text does not exist, and there is no tokenizer"):
        prepare(TrainConfig(vocab_size=300), sources, tree, tree / "text.json")


def test_a_changed_text_is_noticed(sources: Sources, tmp_path: Path) -> None:
    note = tmp_path / "store/text.json"
    first = prepare(CONFIG, sources, tmp_path / "store", note)
    with (sources.text / "x.jsonl").open("a") as file:
        file.write('{"text": "Citizen 99 left."}\n')
    assert not is_noted_text(sources.text, note)
    assert prepare(CONFIG, sources, tmp_path / "store", note).train.documents == first.train.documents + 1


@pytest.mark.parametrize("harmed", [False, True])
def test_shared_tokens_are_looked_through_and_used(
    sources: Sources, tmp_path: Path, logged: list[str], harmed: bool
) -> None:
    first = prepare(CONFIG, sources, tmp_path / "store", tmp_path / "a/text.json")
    cache = tmp_path / "cache"
    for name in ("tokens", "tokenizers"):
        shutil.copytree(tmp_path / "store" / name, cache / name)
    if harmed:
        for path in cache.glob("tokens/*/tokens.bin"):
            content = bytearray(path.read_bytes())
            content[7] ^= 0xFF
            path.write_bytes(bytes(content))
    logged.clear()
    shared = replace(sources, cache=cache)
    again = prepare(CONFIG, shared, tmp_path / "other", tmp_path / "b/text.json")
    assert again.train.digest == first.train.digest
    assert again.train.tokens_T.tolist() == first.train.tokens_T.tolist()
    assert any("is not whole" in line if harmed else "tokens: shared in" in line for line in logged)


def test_files_that_no_training_reads_are_named(sources: Sources, tmp_path: Path) -> None:
    assert unread_files(sources) == []
    for name in ("text/notes.txt", "text/old/x.jsonl.bz2", "val/held.json", "knowledge/facts.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/tokenizer.json").write_text("x")  # beside a bank it is read
    found = [str(Path(name).relative_to(tmp_path)) for name in unread_files(replace(sources, cache=tmp_path / "cache"))]
    assert found == ["text/notes.txt", "text/old/x.jsonl.bz2", "val/held.json", "knowledge/facts.csv"]
