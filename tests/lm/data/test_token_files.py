"""Packed token files: whole or absent, made once, equal to tokenising by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from explicitlm.common.errors import DataError
from explicitlm.lm.data import token_files
from explicitlm.lm.data.token_files import TokenFile, Texts, prepare_tokens
from explicitlm.lm.data.tokenizer import TextTokenizer


def expected(texts: list[str], tokenizer: TextTokenizer) -> list[int]:
    return [token for text in texts for token in (1, *tokenizer.encode(text), 2)]


def test_documents_stand_end_to_end_between_their_marks(
    tmp_path: Path, texts: list[str], tokenizer: TextTokenizer, logged: list[str]
) -> None:
    made = prepare_tokens(Texts.of_list(texts), tokenizer, tmp_path)
    assert made.tokens_T.tolist() == expected(texts, tokenizer)
    assert made.documents == 60 and made.tokens_T.dtype == "<u2" and "60 documents" in logged[0]
    again = prepare_tokens(replace(Texts.of_list(texts), parts=lambda _: pytest.fail("read again")), tokenizer, tmp_path)
    assert again.digest == made.digest and len(logged) == 1
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".lock"}


def test_texts_longer_than_a_part(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    texts = ["Rome " * 50_000] * 30  # 7.5 M characters: two parts
    made = prepare_tokens("d", lambda: iter(texts), tokenizer, tmp_path)
    assert made.documents == 30 and made.tokens_T.size == 30 * (len(tokenizer.encode(texts[0])) + 2)


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
