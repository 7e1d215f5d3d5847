"""The same tokenizer in every process, and no text that it cannot give back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicitlm.common.errors import DataError
from explicitlm.lm.data import tokenizer as module
from explicitlm.lm.data.source import digest_files
from explicitlm.lm.data.tokenizer import SPECIAL_TOKENS, TextTokenizer, load_or_train, read_tokenizer, sample_texts

PROGRAM = """
import sys
from pathlib import Path
from explicitlm.lm.data.records import read_texts
from explicitlm.lm.data.source import find_files
from explicitlm.lm.data.tokenizer import train_tokenizer
files = find_files(Path(sys.argv[1]), (".jsonl",), "data")
print(train_tokenizer(read_texts(files), 400).digest)
"""


def test_special_tokens_have_the_first_ids(tokenizer: TextTokenizer) -> None:
    ids = (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id)
    assert ids == (0, 1, 2, 3) and tokenizer.vocab_size <= 320


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    tokenizer = module.train_tokenizer(iter(["some text", "文字"]), 300)
    clean = text.encode("utf-8", "ignore").decode()
    assert tokenizer.decode(tokenizer.encode(clean)) == clean


def test_unreadable_ids_are_those_that_alone_are_no_text(tokenizer: TextTokenizer) -> None:
    bound = tokenizer.vocab_size + 5
    unreadable = set(tokenizer.unreadable_ids(bound))
    assert {0, 1, 2, 3, *range(tokenizer.vocab_size, bound)} <= unreadable
    assert unreadable >= set(tokenizer.encode("\U0001f680"))  # four bytes, four tokens, no text in any of them
    assert not unreadable & set(tokenizer.encode("the"))


def test_special_tokens_in_a_text_are_plain_text(tokenizer: TextTokenizer) -> None:
    text = "".join(SPECIAL_TOKENS)
    assert min(tokenizer.encode(text)) > 3 and tokenizer.decode(tokenizer.encode(text)) == text


def test_training_is_the_same_in_every_process(tmp_path: Path, texts: list[str], write_jsonl: Any) -> None:
    """Whatever the hash seed, the number of threads and the order in which the files were made."""
    seen = set()
    for number, environment in enumerate(
        ({"PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "1"}, {"PYTHONHASHSEED": "2", "RAYON_NUM_THREADS": "4"})
    ):
        parts = [("a.jsonl", texts[:30]), ("sub/b.jsonl", texts[30:])]
        for name, part in parts[:: 1 if number else -1]:
            write_jsonl(tmp_path / str(number) / name, ({"text": text} for text in part))
        output = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / str(number))],
            env=os.environ | environment,
            check=True,
            capture_output=True,
            text=True,
        )
        seen.add(output.stdout)
    assert len(seen) == 1


def test_it_is_trained_once(tmp_path: Path, texts: list[str], write_jsonl: Any) -> None:
    files = [write_jsonl(tmp_path / "x.jsonl", ({"text": text} for text in texts))]
    first = load_or_train(files, digest_files(files), 300, tmp_path / "cache")
    (made,) = (tmp_path / "cache").glob("*.json")
    before = made.stat().st_mtime_ns
    assert load_or_train(files, digest_files(files), 300, tmp_path / "cache").digest == first.digest
    assert made.stat().st_mtime_ns == before


def test_big_data_is_sampled_evenly_and_repeatably(tmp_path: Path, write_jsonl: Any) -> None:
    values = [{"text": f"document {number}"} for number in range(4000)]
    files = [write_jsonl(tmp_path / f"{name}.jsonl", values) for name in "ab"]
    size = sum(file.stat().st_size for file in files)
    assert len(list(sample_texts(files, limit=size))) == 8000
    part = list(sample_texts(files, limit=size // 4))
    assert part == list(sample_texts(files, limit=size // 4))
    numbers = [int(text.split()[1]) for text in part]
    assert 1800 < len(part) < 2200 and sum(number < 2000 for number in numbers) == pytest.approx(len(part) / 2, rel=0.1)


def test_wrong_tokenizers_are_refused(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(DataError, match="is not a tokenizer"):
        read_tokenizer(path, 320)
    path.write_text(tokenizer.serialised.replace("<|pad|>", "<|other|>"))
    with pytest.raises(DataError, match=r"lacks the special token <\|pad\|>"):
        read_tokenizer(path, 320)
    path.write_text(tokenizer.serialised)
    with pytest.raises(DataError, match="vocab_size is 270"):
        read_tokenizer(path, 270)
