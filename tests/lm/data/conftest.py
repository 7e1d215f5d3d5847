"""Small texts and a tokenizer trained on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from explicitlm.lm.data.tokenizer import TextTokenizer, train_tokenizer

TEXTS = [f"Citizen {number} lives in Rome and pays {number * 7} coins." for number in range(60)]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(iter(TEXTS), 320)


@pytest.fixture
def write_jsonl() -> Callable[[Path, Iterable[Any]], Path]:
    def write(path: Path, values: Iterable[Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
        return path

    return write
