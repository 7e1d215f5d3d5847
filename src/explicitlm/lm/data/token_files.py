"""Documents tokenised once into a memory-mapped file of uint16 ids, packed end to end.

A document is `<|im_start|>text<|im_end|>`; nothing is padded. Files are streamed line by line in parts of a
few MiB, so memory does not grow with the data, and a training process maps the result instead of reading it.
A finished folder is named by the digest of what it was made from and appears by one rename: it is whole or
absent, and processes that want it at once wait for the one that makes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.lm.data.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

_PART_CHARS = 4 << 20  # characters tokenised at a time
_FORMAT = 1  # part of the digest: raise it when the layout changes


@dataclass(frozen=True)
class TokenFile:
    """tokens_T: memory-mapped ids, uint16; documents: how many; digest: of the ids' bytes, for run states."""

    tokens_T: NDArray[np.uint16]
    documents: int
    digest: str


def prepare_tokens(
    source_digest: str,
    texts: Callable[[], Iterable[str]],
    tokenizer: TextTokenizer,
    cache: Path,
) -> TokenFile:
    """Maps the token file of some texts, making it first where it does not exist or is damaged.

    Args:
        source_digest: identifies the texts; with the tokenizer's digest it names the folder.
        texts: called only when the file must be made.
        tokenizer: see `TextTokenizer`.
        cache: folder that holds one folder a token file.

    Raises:
        DataError: the texts hold no document, or a line is broken.
    """
    key = f"{_FORMAT}\n{source_digest}\n{tokenizer.digest}\n"
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:32]
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        found = _open(folder)
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, texts(), tokenizer)
            found = _open(folder)
            if found is None:
                raise DataError(f"the token file in {folder} cannot be read back", "check the disk, then again")
            logger.info(f"tokenised {found.documents:,} documents into {found.tokens_T.size:,} tokens ({folder})")
    return found


def _open(folder: Path) -> TokenFile | None:
    """The token file in a folder, or None where it is absent, cut off or without its description."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if (folder / "tokens.bin").stat().st_size != 2 * meta["tokens"]:
            return None
        tokens_T = np.memmap(folder / "tokens.bin", dtype="<u2", mode="r")
        return TokenFile(tokens_T, int(meta["documents"]), str(meta["sha256"]))
    except (OSError, ValueError, KeyError):
        return None


def _make(folder: Path, texts: Iterable[str], tokenizer: TextTokenizer) -> None:
    """Writes tokens.bin and meta.json into a temporary sibling and renames it to `folder`."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        temporary.chmod(0o755)  # mkdtemp makes 0700, which a shared cluster's colleagues cannot read
        documents, tokens, sha = 0, 0, hashlib.sha256()
        with (temporary / "tokens.bin").open("wb") as file:
            for part in _parts(texts):
                ids_T = _pack(tokenizer.encode_batch(part), tokenizer)
                sha.update(ids_T.tobytes())
                file.write(ids_T.tobytes())
                documents, tokens = documents + len(part), tokens + ids_T.size
            file.flush()
            os.fsync(file.fileno())
        if not documents:
            raise DataError(  # noqa: TRY301 - what was begun is removed below
                "the data holds no document with text", 'each line is {"text": "..."} with some text'
            )
        meta = {"documents": documents, "tokens": tokens, "sha256": sha.hexdigest()}
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in groups of a few MiB."""
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(text)
        size += len(text)
        if size >= _PART_CHARS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _pack(documents: list[list[int]], tokenizer: TextTokenizer) -> NDArray[np.uint16]:
    """Documents between their marks, end to end, little-endian uint16."""
    ids: list[int] = []
    for document in documents:
        ids.append(tokenizer.start_id)
        ids.extend(document)
        ids.append(tokenizer.end_id)
    return np.array(ids, dtype="<u2")
