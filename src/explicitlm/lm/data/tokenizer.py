"""Byte-level BPE: trained on the training text, the same bytes in every process and on every machine.

The `tokenizers` trainer breaks ties by token id, so its result depends on its input alone; the input is made
independent of hash seeds and of the file system's order by `source.find_files`.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers import __version__ as library_version

from explicitlm.common.errors import DataError
from explicitlm.common.files import write_text
from explicitlm.lm.data.encoding import Encoder, Packed
from explicitlm.lm.data.hashing import splitmix64
from explicitlm.lm.data.records import raw_records, text_of, text_size

logger = logging.getLogger(__name__)

PAD, START, END, UNKNOWN = "<|pad|>", "<|im_start|>", "<|im_end|>", "<|unk|>"
SPECIAL_TOKENS = (PAD, START, END, UNKNOWN)  # ids 0 to 3
SAMPLE_BYTES = 64 << 20  # of JSON lines; more text hardly changes a vocabulary of thousands
_DRAWS_AT_ONCE = 1 << 12


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Turns what `tokenizers` raises into a DataError: bare Exception, or a panic, which is none."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # pyo3's PanicException derives from BaseException
        raise DataError(f"{source} is not a tokenizer ({error})", "give a tokenizer.json of `tokenizers`") from None


class TextTokenizer:
    """A byte-level BPE with our four special tokens.

    Special tokens that stand in a text are read as plain text, so that no document can end itself.

    Args:
        serialised: the content of a tokenizer.json.
        source: where it was read, for the message.

    Raises:
        DataError: no tokenizer, or one without our special tokens.
    """

    def __init__(self, serialised: str, source: str) -> None:
        with _readable(source):
            self._inner = Tokenizer.from_str(serialised)
            self._inner.encode_special_tokens = True
        self.serialised = serialised
        self.pad_id, self.start_id, self.end_id, self.unknown_id = (
            self._special(token, source) for token in SPECIAL_TOKENS
        )
        self._encoder = Encoder(self._inner, serialised, (self.start_id, self.end_id))
        with _readable(source):
            self._encoder.encode(["a"])  # some break at their first use only

    def _special(self, token: str, source: str) -> int:
        number = self._inner.token_to_id(token)
        if number is None:
            raise DataError(f"{source} lacks the special token {token}", f"add {', '.join(SPECIAL_TOKENS)}")
        return int(number)

    @property
    def vocab_size(self) -> int:
        """Number of tokens; at most the `vocab_size` asked for, fewer where the text is small."""
        return int(self._inner.get_vocab_size())

    @property
    def digest(self) -> str:
        """Hex SHA-256 of its serialised form."""
        return hashlib.sha256(self.serialised.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, on all cores."""
        packed = self.encode_packed(texts)
        return [packed.document(number) for number in range(len(texts))]

    def encode_packed(self, texts: Sequence[str]) -> Packed:
        """The same ids end to end in one array, each document between its marks; several threads may ask at once."""
        return self._encoder.encode(texts)

    @property
    def distrusted(self) -> bool:
        """Whether the fast library was caught with a wrong id, so that what it gave before must be made again."""
        return self._encoder.distrusted

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def unreadable_ids(self, bound: int) -> list[int]:
        """Ids below `bound` that alone are no text: special tokens, parts of a character, unused ids."""
        texts = ((number, self.decode([number])) for number in range(bound))
        return [number for number, text in texts if not text or "\ufffd" in text]


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> TextTokenizer:
    """Learns `vocab_size` tokens (fewer when the text has no more pairs) from texts."""
    inner = Tokenizer(models.BPE(unk_token=UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return TextTokenizer(inner.to_str(), "the tokenizer just trained")


def sample_texts(files: Sequence[Path], limit: int = SAMPLE_BYTES) -> Iterator[str]:
    """About `limit` bytes of the training text, spread evenly: each line's number decides whether it is in.

    A line is in when a hash of (file number, line number) is below limit / total, so the sample is the same
    in every process and needs no list of lines. Smaller data is taken whole.
    """
    share = limit / max(text_size(files), 1)
    for file_number, path in enumerate(files):
        chosen = _draws(file_number) if share < 1 else itertools.repeat(0.0)
        for (number, raw), draw in zip(raw_records(path, columns=("text",)), chosen, strict=False):
            if (share >= 1 or draw < share) and (isinstance(raw, dict) or raw.strip()):
                yield text_of(path, number, raw)


def _draws(file_number: int) -> Iterator[float]:
    """For each line of a file, from line 1, a number in [0, 1) that depends on nothing but the two numbers."""
    for first in itertools.count(1, _DRAWS_AT_ONCE):
        place_K = np.arange(first, first + _DRAWS_AT_ONCE, dtype=np.uint64) | np.uint64(file_number << 40)
        yield from (splitmix64(place_K) / 2.0**64).tolist()


def load_or_train(files: Sequence[Path], digest: str, vocab_size: int, cache: Path) -> TextTokenizer:
    """The tokenizer of the training files, trained once and kept in a cache folder.

    Processes that ask at once wait for the one that trains.

    Args:
        files: the training files.
        digest: `source.digest_files` of them.
        vocab_size: tokens asked for.
        cache: folder that holds one file a tokenizer, named by what it was made from.
    """
    path = tokenizer_path(digest, vocab_size, cache)
    if path.exists():
        return read_tokenizer(path, vocab_size)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            total = text_size(files)
            if total > SAMPLE_BYTES:
                logger.info(f"tokenizer: trained on {SAMPLE_BYTES >> 20} of {total >> 20} MiB, lines spread evenly")
            write_text(path, train_tokenizer(sample_texts(files), vocab_size).serialised)
    return read_tokenizer(path, vocab_size)


def tokenizer_path(digest: str, vocab_size: int, cache: Path) -> Path:
    """Where the tokenizer of some training files lies in a cache folder."""
    key = f"{digest}\n{vocab_size}\n{SAMPLE_BYTES}\n{library_version}\n"
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def read_tokenizer(path: Path, vocab_size: int) -> TextTokenizer:
    """Reads a tokenizer.json.

    Raises:
        DataError: it is broken, or its vocabulary exceeds `vocab_size`.
    """
    with _readable(str(path)):
        serialised = path.read_text(encoding="utf-8")
    tokenizer = TextTokenizer(serialised, str(path))
    if tokenizer.vocab_size > vocab_size:
        raise DataError(
            f"{path} has {tokenizer.vocab_size} tokens, vocab_size is {vocab_size}",
            f"set vocab_size={tokenizer.vocab_size}",
        )
    return tokenizer
