"""What is made of the text once, before any training asks for a GPU: its tokenizer, its tokens, where it says facts.

They lie in a *store*, a folder that all trainings of a checkout share:

    tokenizers/<name>.json      named by the digest of the text, vocab_size and the library's version
    tokens/<name>/              named by the digests of text and tokenizer (token_files.py)
    labels/<name>.npy           named by the digests of tokens, tokenizer and facts (labels.py)
    texts/<version>.json        the digest of the text of a data version, so that it is read once only
    prepared/<name>.json        what was found or made for versions of the data, so that it is looked for once only

A tree in which a training runs has a *note* of its text (note.py). Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from explicitlm.common.errors import DataError
from explicitlm.common.files import write_json
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.arrays import holds_array
from explicitlm.lm.data.benchmarks import Benchmark, read_benchmarks
from explicitlm.lm.data.embeddings import find_tokenizer
from explicitlm.lm.data.knowledge import Fact, cached_facts, read_facts
from explicitlm.lm.data.labels import Labels, labels_path, prepare_labels
from explicitlm.lm.data.note import Sources, find_texts, fingerprint, link_files, read_note, write_note
from explicitlm.lm.data.source import brought, digest_files
from explicitlm.lm.data.token_files import META, TOKENS, Texts, TokenFile, open_tokens, prepare_tokens, token_folder
from explicitlm.lm.data.tokenizer import TextTokenizer, load_or_train, read_tokenizer, tokenizer_path

logger = logging.getLogger(__name__)

TOKENS_FOLDER, TOKENIZERS_FOLDER, LABELS_FOLDER = "tokens", "tokenizers", "labels"


@dataclass(frozen=True)
class Prepared:
    """What was made of the text.

    benchmark: the validation data. facts: the knowledge base. labels: where the text says facts of the bank, None where
    nothing is trained with it. files: in the store, relative to it.
    """

    tokenizer: TextTokenizer
    train: TokenFile
    val: TokenFile
    benchmark: Benchmark
    facts: list[Fact]
    labels: Labels | None
    files: list[str]


def prepare(config: TrainConfig, sources: Sources, store: Path, note: Path, version: str = "") -> Prepared:
    """Finds or makes the tokenizer and the tokens of a training.

    Args:
        config: vocab_size counts, and which facts the bank holds.
        sources: the text may be absent where note and store hold what was made of it.
        store: see above; made when missing.
        note: of the tree, likewise.
        version: a name of the text's content, such as DVC's hash, by which its digest is remembered.

    Raises:
        DataError: data is missing or broken.
    """
    facts = read_facts(sources.knowledge) if sources.knowledge else []
    benchmark = read_benchmarks(sources.benchmarks)
    digest, files, seen = _text_digest(sources.text, store, note, version)
    tokenizer = _tokenizer(config, sources, store, digest, files)
    folder = token_folder(digest, tokenizer, store / TOKENS_FOLDER)
    if sources.cache:
        _adopt_tokens(sources.cache / TOKENS_FOLDER / folder.name, folder, tokenizer)
    if not files and open_tokens(folder) is None:
        raise _absent(sources.text, "there are no tokens of it either for these settings")
    train = prepare_tokens(Texts.of_files(files, digest), tokenizer, store / TOKENS_FOLDER)
    val_texts = Texts.of_list(benchmark.texts)
    val = prepare_tokens(val_texts, tokenizer, store / TOKENS_FOLDER)
    made = [f"{TOKENIZERS_FOLDER}/{tokenizer_path(digest, config.vocab_size, store).name}"]
    for name in (folder.name, token_folder(val_texts.digest, tokenizer, store).name):
        made += [f"{TOKENS_FOLDER}/{name}/{part}" for part in (META, TOKENS)]
    labels = None
    if config.router == "content" and not config.disable_memory:
        bank_facts = _bank_facts(config, sources, facts)
        path = labels_path(train.digest, bank_facts, tokenizer, store / LABELS_FOLDER)
        labels = prepare_labels(path, train.tokens_T, bank_facts, tokenizer)
        made.append(f"{LABELS_FOLDER}/{path.name}")
    made = [name for name in made if (store / name).exists()]  # a tokenizer that came with the data is none of ours
    if files:
        write_note(note, digest, seen, made)
    return Prepared(tokenizer, train, val, benchmark, facts, labels, made)


def _text_digest(text: Path, store: Path, note: Path, version: str) -> tuple[str, list[Path], str]:
    """The digest of the text, its files (none where it is absent) and their fingerprint."""
    noted = read_note(note)
    if not text.exists() and isinstance(noted.get("digest"), str):
        return str(noted["digest"]), [], ""
    files = find_texts(text)
    seen = fingerprint(text, files)
    if noted.get("seen") == seen:
        return str(noted["digest"]), files, seen
    known = store / "texts" / f"{version}.json"
    digest = read_note(known).get("digest") if version else None
    if not isinstance(digest, str):
        digest = digest_files(files)
        if version:
            write_json(known, {"digest": digest})
    return digest, files, seen


def _tokenizer(config: TrainConfig, sources: Sources, store: Path, digest: str, files: list[Path]) -> TextTokenizer:
    """The tokenizer that came with embeddings or cache, else one of the training text."""
    given = find_tokenizer(sources.embeddings, sources.cache)
    if given:
        logger.info(f"tokenizer: {given}")
        return read_tokenizer(given, config.vocab_size)
    path = tokenizer_path(digest, config.vocab_size, store / TOKENIZERS_FOLDER)
    shared = sources.cache / TOKENIZERS_FOLDER / path.name if sources.cache else None
    if shared and shared.is_file() and not path.exists():
        read_tokenizer(shared, config.vocab_size)
        link_files([path.name], shared.parent, path.parent)
    if not files and not path.exists():
        raise _absent(sources.text, "there is no tokenizer of it either for these settings")
    return load_or_train(files, digest, config.vocab_size, path.parent)


def _adopt_tokens(shared: Path, folder: Path, tokenizer: TextTokenizer) -> None:
    """Links tokens that a colleague shares in data/cache into the store, once they have been looked through."""
    if open_tokens(folder) or not shared.is_dir():
        return
    found = open_tokens(shared)
    if (
        found is None
        or hashlib.sha256(found.tokens_T.data).hexdigest() != found.digest
        or int(found.tokens_T.max(initial=0)) >= tokenizer.vocab_size
    ):
        logger.warning(f"{shared} is not whole: its tokens are made again")
        return
    link_files([META, TOKENS], shared, folder)
    logger.info(f"tokens: shared in {shared}")


def _bank_facts(config: TrainConfig, sources: Sources, facts: list[Fact]) -> dict[int, Fact]:
    """The facts of the bank that a training makes, by row."""
    if sources.cache and holds_array(sources.cache):
        return cached_facts(sources.cache, config.knowledge_num, facts)
    return dict(enumerate(facts[: config.knowledge_num]))


def _absent(text: Path, why: str) -> DataError:
    return DataError(f"the training data is missing: {text} does not exist, and {why}",
                     f"{brought(text)}; on a compute node: explicitlm cluster push ID HOST:DIR again, "
                     "on the login node")  # fmt: skip
