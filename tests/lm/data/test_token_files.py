"""Packed token files: whole or absent, made once, equal to tokenising by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explicitlm.common.errors import DataError
from explicitlm.lm.data import encoding, records, token_files
from explicitlm.lm.data.records import Part, Place
from explicitlm.lm.data.token_files import Texts, TokenFile, prepare_tokens
from explicitlm.lm.data.tokenizer import TextTokenizer


def expected(texts: list[str], tokenizer: TextTokenizer) -> list[int]:
    return [token for text in texts for token in (1, *tokenizer.encode(text), 2)]


def test_documents_stand_end_to_end_between_their_marks(
    tmp_path: Path, texts: list[str], tokenizer: TextTokenizer, logged: list[str]
) -> None:
    made = prepare_tokens(Texts.of_list(texts), tokenizer, tmp_path)
    assert made.tokens_T.tolist() == expected(texts, tokenizer)
    assert made.documents == 60 and made.tokens_T.dtype == "<u2" and "60 documents" in logged[0]
    again = prepare_tokens(
        replace(Texts.of_list(texts), parts=lambda _: pytest.fail("read again")), tokenizer, tmp_path
    )
    assert again.digest == made.digest and len(logged) == 1
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".lock"}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of less than 1 MiB."""
    monkeypatch.setattr(records, "_PART_SIZE", 1 << 19)


def long_texts(number: int) -> list[str]:
    """Documents of 75,000 characters, some of which fill a part."""
    return [f"Rome {place} " * 10_000 for place in range(number)]


def write_texts(path: Path, texts: list[str]) -> Texts:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Texts.of_files([path], "d")


@pytest.mark.usefixtures("small_parts")
def test_texts_of_several_parts(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    texts = long_texts(40)
    made = prepare_tokens(write_texts(tmp_path / "x.jsonl", texts), tokenizer, tmp_path / "cache")
    assert made.documents == 40 and made.tokens_T.tolist() == expected(texts, tokenizer)


@pytest.mark.usefixtures("small_parts")
def test_a_process_that_was_killed_is_gone_on_with(
    tmp_path: Path, tokenizer: TextTokenizer, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it writes: what lies behind its last safe place is made again, what lies before it is not."""
    monkeypatch.setattr(token_files, "_SAVED_EVERY", 1)
    monkeypatch.setattr(token_files, "_READ_AHEAD", 1)  # what was only read when it was killed is lost
    monkeypatch.setattr(token_files, "THREADS", 1)
    texts = write_texts(tmp_path / "x.jsonl", long_texts(60))
    whole = prepare_tokens(texts, tokenizer, tmp_path / "whole")
    asked: list[Place] = []

    def cut(place: Place) -> Iterator[Part]:
        asked.append(place)
        for number, part in enumerate(texts.parts(place)):
            if number == 5:
                raise KeyboardInterrupt
            yield part

    with pytest.raises(KeyboardInterrupt):
        prepare_tokens(replace(texts, parts=cut), tokenizer, tmp_path / "cut")
    (unfinished,) = (tmp_path / "cut").glob("*.part")
    with (unfinished / "tokens.bin").open("ab") as file:
        file.write(b"half")
    again = prepare_tokens(replace(texts, parts=cut), tokenizer, tmp_path / "cut")
    assert again.digest == whole.digest and again.tokens_T.tolist() == whole.tokens_T.tolist()
    assert asked[0] == (0, 0) and asked[1].record > 20 and any("going on after" in line for line in logged)
    assert not list((tmp_path / "cut").glob("*.part"))


@pytest.mark.usefixtures("small_parts")
def test_a_wrong_id_of_the_fast_library_makes_the_file_anew(
    tmp_path: Path, tokenizer: TextTokenizer, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is right in the first part, so that a check of the first documents alone would believe it."""
    right, calls = encoding.fast_encode(tokenizer.serialised, (1, 2)), 0
    assert right is not None

    def faulty(texts: Sequence[str]) -> encoding.Packed:
        nonlocal calls
        calls += 1
        ids_T, ends_D = right(texts)
        return encoding.Packed(ids_T + np.uint16(calls > 2), ends_D)

    texts = long_texts(40)
    fresh = TextTokenizer(tokenizer.serialised, "a test")
    monkeypatch.setattr(encoding, "fast_encode", lambda *_: faulty)
    made = prepare_tokens(write_texts(tmp_path / "x.jsonl", texts), fresh, tmp_path / "cache")
    assert made.tokens_T.tolist() == expected(texts, tokenizer)
    assert calls > 2 and any("give different ids" in line for line in logged)


@pytest.mark.parametrize("harm", ["truncate", "description"])
def test_a_damaged_file_is_made_again(tmp_path: Path, texts: list[str], tokenizer: TextTokenizer, harm: str) -> None:
    first = prepare_tokens(Texts.of_list(texts), tokenizer, tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    if harm == "truncate":
        shutil.copy(folder / "tokens.bin", folder / "copy")
        (folder / "copy").replace(folder / "tokens.bin")
        with (folder / "tokens.bin").open("r+b") as file:
            file.truncate(10)
    else:
        (folder / "meta.json").write_text("{")
    again = prepare_tokens(Texts.of_list(texts), tokenizer, tmp_path)
    assert again.digest == first.digest and again.tokens_T.tolist() == expected(texts, tokenizer)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    with pytest.raises(DataError, match="no document"):
        prepare_tokens(Texts.of_list([]), tokenizer, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_processes_that_ask_at_once_make_it_once(tmp_path: Path, texts: list[str], tokenizer: TextTokenizer) -> None:
    (tmp_path / "t.json").write_text(tokenizer.serialised)
    program = (
        "import sys; from pathlib import Path\n"
        "from explicitlm.lm.data.token_files import Texts, prepare_tokens\n"
        "from explicitlm.lm.data.tokenizer import read_tokenizer\n"
        "from explicitlm.common import logs; logs.set_up()\n"
        "folder = Path(sys.argv[1]); tokenizer = read_tokenizer(folder / 't.json', 320)\n"
        "texts = ['Citizen lives in Rome.'] * 20000\n"
        "print(prepare_tokens(Texts.of_list(texts), tokenizer, folder / 'c').digest)\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [run.communicate()[0].splitlines() for run in runs]
    assert len({lines[-1] for lines in outputs}) == 1
    assert sum(line.startswith("tokenised") for lines in outputs for line in lines) == 1


def test_another_tokenizer_or_text_is_another_file(tmp_path: Path, texts: list[str], tokenizer: TextTokenizer) -> None:
    made: list[TokenFile] = [
        prepare_tokens(Texts.of_list(texts), tokenizer, tmp_path),
        prepare_tokens(Texts.of_list(texts[:9]), tokenizer, tmp_path),
    ]
    assert made[0].digest != made[1].digest
    assert token_files.open_tokens(tmp_path / "nowhere") is None
