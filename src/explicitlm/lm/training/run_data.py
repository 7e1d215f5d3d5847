"""Everything a run reads, made ready before the processes meet: tokenizer, token files, bank rows, items.

Each process calls this on its own. Tokens are there already where sync_data prepared them; else the first process to
ask makes them and the others wait at its lock, with no collective open that could time out meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.arrays import holds_array
from explicitlm.lm.data.batches import Windows
from explicitlm.lm.data.benchmarks import Item, choose_items
from explicitlm.lm.data.embeddings import read_embeddings
from explicitlm.lm.data.hashing import permutation
from explicitlm.lm.data.knowledge import Fact, Knowledge, read_cache, rows_from_facts
from explicitlm.lm.data.labels import Labels
from explicitlm.lm.data.prepare import prepare
from explicitlm.lm.data.tokenizer import TextTokenizer
from explicitlm.lm.training.run_paths import TEXT_NOTE, WORK_DIR, RunPaths

logger = logging.getLogger(__name__)

MAX_VAL_TOKENS = 1 << 20  # of the validation text; more is a seeded part, and the log says so
MAX_ITEMS = 1000  # a task: a standard error below 1.6 points


@dataclass(frozen=True)
class RunData:
    """What a run is made of.

    train: the training text; val: the validation text; val_sequences: those that count for the loss.
    items: task items; knowledge: bank rows, None in the dense baseline; embeddings_VD: None unless given.
    labels: bank rows of the training text's tokens, None where nothing is trained with them.
    digest: hex SHA-256 of all of it, for resume states and the digest chain.
    """

    tokenizer: TextTokenizer
    train: Windows
    val: Windows
    val_sequences: NDArray[np.int64]
    items: list[Item]
    knowledge: Knowledge | None
    embeddings_VD: NDArray[np.float32] | None
    labels: Labels | None
    digest: str


def load_run_data(config: TrainConfig, paths: RunPaths) -> RunData:
    """Reads, checks and tokenises all data of a run.

    Raises:
        DataError: anything missing, broken or of another shape than the configuration says.
    """
    prepared = prepare(config, paths.sources, WORK_DIR, WORK_DIR / TEXT_NOTE)
    tokenizer, train, val = prepared.tokenizer, prepared.train, prepared.val
    val_windows = Windows(val.tokens_T, config.max_seq_len, tokenizer.pad_id)
    embeddings_VD = (
        read_embeddings(paths.pretrained_embedding, config.vocab_size, config.dim)
        if paths.pretrained_embedding
        else None
    )
    knowledge = None if config.disable_memory else _knowledge(config, paths, prepared.facts, tokenizer, train.tokens_T)
    items = choose_items(prepared.benchmark.items, MAX_ITEMS, config.seed)
    parts = [
        train.digest,
        val.digest,
        tokenizer.digest,
        hashlib.sha256(json.dumps([vars(item) for item in items]).encode()).hexdigest(),
        "" if embeddings_VD is None else hashlib.sha256(embeddings_VD.tobytes()).hexdigest(),
        ""
        if knowledge is None
        else hashlib.sha256(knowledge.rows_NL.tobytes() + knowledge.objects_N2.tobytes()).hexdigest(),
    ]
    return RunData(
        tokenizer=tokenizer,
        train=Windows(train.tokens_T, config.max_seq_len, tokenizer.pad_id),
        val=val_windows,
        val_sequences=_val_sequences(val_windows, config.seed),
        items=items,
        knowledge=knowledge,
        embeddings_VD=embeddings_VD,
        labels=prepared.labels,
        digest=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
    )


def _knowledge(
    config: TrainConfig,
    paths: RunPaths,
    facts: list[Fact],
    tokenizer: TextTokenizer,
    text_T: NDArray[np.uint16],
) -> Knowledge:
    """Bank rows from the cache where there is one, else from the facts."""
    shape_NL = (config.knowledge_num, config.knowledge_length)
    if paths.cache and holds_array(paths.cache):
        logger.info(f"memory bank: rows of {paths.cache}")
        return read_cache(paths.cache, shape_NL, config.vocab_size, facts, tokenizer)
    knowledge = rows_from_facts(facts, tokenizer, shape_NL, text_T, config.seed)
    shown = min(len(facts), config.knowledge_num)
    logger.info(f"memory bank: {shown:,} facts, {config.knowledge_num - shown:,} spans of the training text")
    return knowledge


def _val_sequences(windows: Windows, seed: int) -> NDArray[np.int64]:
    """All validation sequences, or a seeded part of them in their order."""
    most = max(1, MAX_VAL_TOKENS // windows.length)
    if len(windows) <= most:
        return np.arange(len(windows))
    logger.info(f"evaluation: {most:,} of {len(windows):,} validation sequences, drawn by the seed")
    return np.sort(permutation(len(windows), seed)[:most])
