"""Whether a training can read its data: each dataset's own reader run over it, before anything is trained.

The formats are those of docs/data-formats.md. Nothing here imports torch, except for an array in torch's own format.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.arrays import holds_array
from explicitlm.lm.data.benchmarks import read_benchmarks
from explicitlm.lm.data.embeddings import read_embeddings
from explicitlm.lm.data.knowledge import read_cache_rows, read_facts
from explicitlm.lm.data.records import read_records, text_of
from explicitlm.lm.data.source import KINDS, find_files

FIRST = 100  # documents of each file: the whole text is read when it is tokenised


def check_text(path: Path, _config: TrainConfig) -> None:
    """Checks the beginning of every file of the training text.

    Raises:
        DataError: there is no file of a kind that is read, or a line is no document, by file and line.
    """
    for file in find_files(path, KINDS, "the training data"):
        for number, value in itertools.islice(read_records(file), FIRST):
            text_of(file, number, value)


def check_benchmarks(path: Path, _config: TrainConfig) -> None:
    """Checks every line of the validation data.

    Raises:
        DataError: a line is neither text nor an item, by file and line.
    """
    read_benchmarks(path)


def check_facts(path: Path, _config: TrainConfig) -> None:
    """Checks every entry of a knowledge base.

    Raises:
        DataError: one is no fact, by file and number.
    """
    read_facts(path)


def check_embeddings(path: Path, config: TrainConfig) -> None:
    """Checks that pretrained embeddings are a table [V, D] of finite numbers.

    Raises:
        DataError: they are not.
    """
    read_embeddings(path, config.vocab_size, config.dim)


def check_cache(path: Path, config: TrainConfig) -> None:
    """Checks that a tokenised bank, if the folder holds one, is one of token ids [N, L].

    Raises:
        DataError: it is not.
    """
    if holds_array(path) and not config.disable_memory:
        read_cache_rows(path, (config.knowledge_num, config.knowledge_length), config.vocab_size)


CHECKS: dict[str, Callable[[Path, TrainConfig], None]] = {  # by the default path of each dataset
    "data/database": check_text,
    "data/benchmarks": check_benchmarks,
    "data/knowledge_base": check_facts,
    "data/embeddings": check_embeddings,
    "data/cache": check_cache,
}
