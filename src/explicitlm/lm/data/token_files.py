"""Documents tokenised once into a memory-mapped file of uint16 ids, packed end to end.

A document is `<|im_start|>text<|im_end|>`; nothing is padded. Text is streamed in parts of a few MiB, so memory does
not grow with the data, and a training process maps the result instead of reading it. A finished folder is named by
the digest of what it was made from and appears by one rename: it is whole or absent. What a killed process has made
stays beside it and is gone on with; processes that want a folder at once wait for the one that makes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.common.files import write_json
from explicitlm.lm.data.encoding import THREADS, Packed
from explicitlm.lm.data.records import Part, Place, text_parts, text_size
from explicitlm.lm.data.slow_work import SlowWork
from explicitlm.lm.data.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

TOKENS, META = "tokens.bin", "meta.json"
_PLACE = "place.json"  # of an unfinished folder: how far it is
_SAVED_EVERY = 256 << 20  # bytes of text between two safe places: some seconds' work
_READ_AHEAD = 2  # parts a thread
_FORMAT = 1  # part of the digest: raise it when the layout changes


@dataclass(frozen=True)
class TokenFile:
    """tokens_T: memory-mapped ids, uint16; documents: how many; digest: of the ids' bytes, for run states."""

    tokens_T: NDArray[np.uint16]
    documents: int
    digest: str


@dataclass(frozen=True)
class Texts:
    """Documents to tokenise. digest: names them; size: bytes, about; parts: them, from a place on."""

    digest: str
    size: int
    parts: Callable[[Place], Iterable[Part]]

    @classmethod
    def of_files(cls, files: Sequence[Path], digest: str) -> Texts:
        """The training files."""
        return cls(digest, text_size(files), lambda place: text_parts(files, place))

    @classmethod
    def of_list(cls, texts: Sequence[str]) -> Texts:
        """A few texts, as one part."""
        size = sum(map(len, texts))
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        whole = Part(list(texts), size, Place(0, len(texts)))
        return cls(digest, size, lambda place: [whole] if texts and place < whole.end else [])


def token_folder(texts_digest: str, tokenizer: TextTokenizer, cache: Path) -> Path:
    """Where the tokens of some texts lie in a cache folder."""
    key = f"{_FORMAT}\n{texts_digest}\n{tokenizer.digest}\n"
    return cache / hashlib.sha256(key.encode()).hexdigest()[:32]


def prepare_tokens(texts: Texts, tokenizer: TextTokenizer, cache: Path) -> TokenFile:
    """Maps the token file of some texts, making it first where it does not exist or is damaged.

    Args:
        texts: read only when the file must be made.
        tokenizer: see `TextTokenizer`.
        cache: folder that holds one folder a token file.

    Raises:
        DataError: the texts hold no document, or a line is broken.
    """
    folder = token_folder(texts.digest, tokenizer, cache)
    if found := open_tokens(folder):
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with _patient_lock(folder.with_suffix(".lock")):
        if found := open_tokens(folder):
            return found
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, texts, tokenizer)
        found = open_tokens(folder)
        if found is None:
            raise DataError(f"the token file in {folder} cannot be read back", "check the disk, then again")
        logger.info(f"tokenised {found.documents:,} documents into {found.tokens_T.size:,} tokens ({folder})")
    return found


def open_tokens(folder: Path) -> TokenFile | None:
    """The token file in a folder, or None where it is absent, cut off or without its description."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if (folder / TOKENS).stat().st_size != 2 * meta["tokens"]:
            return None
        tokens_T = np.memmap(folder / TOKENS, dtype="<u2", mode="r")
        return TokenFile(tokens_T, int(meta["documents"]), str(meta["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _patient_lock(path: Path) -> Iterator[None]:
    """Holds a lock; where another process has it, says so and waits."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.info(f"waiting for another process that is making {path.stem}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(folder: Path, texts: Texts, tokenizer: TextTokenizer) -> None:
    """Fills the unfinished folder beside `folder` and renames it."""
    unfinished = folder.with_suffix(".part")
    while True:
        trusted = not tokenizer.distrusted
        with _Unfinished(unfinished, tokenizer) as making:
            _fill(making, texts, tokenizer)
        if trusted and tokenizer.distrusted:  # ids of the library that was caught may be in it already
            shutil.rmtree(unfinished)
            continue
        break
    if not making.documents:
        shutil.rmtree(unfinished)
        raise DataError("the data holds no document with text", 'each line is {"text": "..."} with some text')
    meta = {"documents": making.documents, "tokens": making.tokens, "sha256": making.sha.hexdigest()}
    write_json(unfinished / META, meta)
    (unfinished / _PLACE).unlink(missing_ok=True)
    unfinished.replace(folder)


def _fill(making: _Unfinished, texts: Texts, tokenizer: TextTokenizer) -> None:
    trusted = not tokenizer.distrusted
    with SlowWork("tokenising", texts.size, making.size) as work:
        for part, packed in _encoded_ahead(texts.parts(making.place), tokenizer.encode_packed):
            if trusted and tokenizer.distrusted:
                return
            making.append(part, packed.ids_T)
            work.advance(part.size)


def _encoded_ahead(parts: Iterable[Part], encode: Callable[[Sequence[str]], Packed]) -> Iterator[tuple[Part, Packed]]:
    """Each part with its ids, in order; some are encoded at once, without Python's lock, while the next one is read."""
    waiting: deque[tuple[Part, Future[Packed]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for part in parts:
            waiting.append((part, pool.submit(encode, part.texts)))
            if len(waiting) > _READ_AHEAD * THREADS:
                first, packed = waiting.popleft()
                yield first, packed.result()
        while waiting:
            first, packed = waiting.popleft()
            yield first, packed.result()


class _Unfinished:
    """A token file that grows, with a safe place to go on from noted every `_SAVED_EVERY` bytes of text.

    Args:
        folder: what an earlier process has left there is taken up.
        tokenizer: that of the ids; its digest is in the folder's name, so what is there fits.
    """

    def __init__(self, folder: Path, tokenizer: TextTokenizer) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._file = folder, (folder / TOKENS).open("ab")
        noted = {} if tokenizer.distrusted else _read_place(folder, self._file.tell())
        self.place = Place(*noted.get("place", (0, 0)))
        self.documents, self.tokens = noted.get("documents", 0), noted.get("tokens", 0)
        self.size = self._saved = noted.get("size", 0)
        self._file.truncate(2 * self.tokens)
        self.sha = hashlib.sha256()
        with (folder / TOKENS).open("rb") as file:
            while block := file.read(1 << 20):
                self.sha.update(block)
        if self.tokens:
            logger.info(f"tokenising: going on after {self.documents:,} documents")

    def append(self, part: Part, ids_T: NDArray[np.uint16]) -> None:
        """Adds a part's packed ids."""
        self._file.write(ids_T.data)
        self.sha.update(ids_T.data)
        self.place, self.size = part.end, self.size + part.size
        self.documents, self.tokens = self.documents + len(part.texts), self.tokens + ids_T.size
        if self.size - self._saved >= _SAVED_EVERY:
            self._save()

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._saved = self.size
        noted = {"place": self.place, "documents": self.documents, "tokens": self.tokens, "size": self.size}
        write_json(self._folder / _PLACE, noted)

    def __enter__(self) -> _Unfinished:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _read_place(folder: Path, size: int) -> dict[str, Any]:
    """How far an unfinished folder is; nothing where its note is absent or promises more than there is."""
    try:
        noted: dict[str, Any] = json.loads((folder / _PLACE).read_text(encoding="utf-8"))
        return noted if 2 * noted["tokens"] <= size else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
