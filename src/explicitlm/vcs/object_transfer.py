"""Objects between DVC's cache and an S3 bucket, many at a time, each one hashed as it passes.

DVC's own client spends 2 ms of Python on an object and reads each again to hash it. Here the requests are Rust's
(`obstore`), the layout is DVC's (files/md5/xx/...), and nothing gets its name on either side unless its bytes have it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Set
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from explicitlm.common.errors import DataError
from explicitlm.vcs.at_once import Shown, all_of
from explicitlm.vcs.cache import make_folder
from explicitlm.vcs.object_store import object_store
from explicitlm.vcs.remote import Remote
from explicitlm.vcs.s3 import ask, watching

LARGE = 4 << 20  # bytes; larger objects pass in pieces, so that memory stays bounded
PIECE = 1 << 20  # bytes
LARGE_AT_ONCE = 4  # large uploads, of each of which PARTS_AT_ONCE parts are in memory
PART, PARTS_AT_ONCE = 16 << 20, 4  # bytes
MAX_PARTS = 10_000  # of one upload, by S3's rules
FOLDERS = tuple(f"{number:02x}" for number in range(256))  # what the names of objects begin with
SOON_S = 2
PER_LIST = 1000  # objects in one answer to a listing
READ_ONLY = 0o444  # the mode by which DVC knows an object that is whole


class ObjectInfo(NamedTuple):
    """What a store says of an object: bytes, and its ETag, which most stores make of the bytes' MD5."""

    size: int
    etag: str


class ObjectTransfer:
    """Moves objects.

    Args:
        remote: an S3 store that `object_store.handles`.
        cache: DVC's cache.
        shared: whether a group writes to the cache (DVC's cache.shared).
    """

    def __init__(self, remote: Remote, cache: Path, shared: bool) -> None:
        self._store = object_store(remote)
        self._watch = watching(remote, ask)
        self._in_parts: dict[str, str] = {}  # ETags of what was sent in parts, as S3 makes them
        self._cache = cache
        self._shared = shared

    def answers(self) -> bool:
        """Whether the store answers at once, knows us, and has the bucket; why it does not is for `s3.ask` to say."""
        import obstore

        async def look() -> None:
            nothing = obstore.list(self._store, prefix="files/md5/none", chunk_size=1)
            await asyncio.wait_for(nothing.collect_async(), SOON_S)

        try:
            asyncio.run(look())
        except Exception:  # obstore's have a base of their own, its Rust side more
            return False
        return True

    def pull(self, hashes: Set[str], watch: Callable[[], None]) -> None:
        """Brings objects into the cache; those that the store lacks, or has with other bytes, stay missing.

        Args:
            watch: called every few seconds; what it raises ends the transfer.

        Raises:
            TransferError: some failed for another reason, or the disk is full; the others are there.
            StorageError: what `watch` raised.
        """
        for folder in {self._path(md5).parent for md5 in hashes}:
            make_folder(folder, self._shared)
        shown = Shown("pulling", len(hashes))
        asyncio.run(all_of(partial(self._pull, shown), sorted(hashes), shown, watch))

    def push(self, hashes: Set[str], watch: Callable[[], None]) -> None:
        """Sends those of the objects that the cache has, over what the store has under their names.

        Lists of folders go last, so that none promises what is not there.

        Raises:
            DataError: an object has other bytes than its name says; it was not sent.
            TransferError, StorageError: as for `pull`.
        """
        here = sorted(md5 for md5 in hashes if self._path(md5).is_file())
        for lists in (False, True):
            group = [md5 for md5 in here if md5.endswith(".dir") is lists]
            shown = Shown("pushing", len(group))
            asyncio.run(self._push_all(group, shown, watch))

    def delete(self, hashes: Set[str]) -> None:
        """Removes objects from the store."""
        import obstore

        if hashes:
            obstore.delete(self._store, [_key(md5) for md5 in sorted(hashes)])

    async def _push_all(self, hashes: list[str], shown: Shown, watch: Callable[[], None]) -> None:
        gate = asyncio.Semaphore(LARGE_AT_ONCE)
        await all_of(partial(self._push, gate, shown), hashes, shown, watch)

    def info(self, hashes: Set[str]) -> dict[str, ObjectInfo]:
        """What the store says of those of the objects that it has.

        Raises:
            TransferError: it gave no answer.
        """
        found: dict[str, ObjectInfo] = asyncio.run(self._ask(hashes))
        return found

    async def _ask(self, hashes: Set[str]) -> dict[str, ObjectInfo]:
        import obstore

        found: dict[str, ObjectInfo] = {}

        async def ask(md5: str) -> None:
            found[md5] = _info(await obstore.head_async(self._store, _key(md5)))

        async def list_folder(folder: str) -> None:
            for item in await obstore.list(self._store, prefix=f"files/md5/{folder}/").collect_async():
                md5 = folder + item["path"].rpartition("/")[2]
                if md5 in hashes:
                    found[md5] = _info(item)

        folders = sorted({md5[:2] for md5 in hashes})
        if len(hashes) > len(FOLDERS):
            one = await obstore.list(self._store, prefix=f"files/md5/{folders[0]}/").collect_async()
            if len(folders) * (1 + len(one) // PER_LIST) < len(hashes):  # fewer requests
                await all_of(list_folder, folders, Shown("listing folders", len(folders)), self._watch)
                return found
        await all_of(ask, sorted(hashes), Shown("asking for", len(hashes)), self._watch)
        return found

    def is_believed(self, md5: str, info: ObjectInfo) -> bool:
        """Whether the store tells the digest of the right bytes: their MD5, or that of the parts it was sent in."""
        return info.etag == md5.removesuffix(".dir") or (info.etag != "" and info.etag == self._in_parts.get(md5))

    async def _pull(self, shown: Shown, md5: str) -> None:
        import obstore

        answer = await obstore.get_async(self._store, _key(md5))
        target = self._path(md5)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with temporary.open("xb", buffering=0) as file:
                if answer.meta["size"] <= LARGE:
                    content = await answer.bytes_async()
                    _take(file, digest, shown, content)
                else:
                    await _take_pieces(partial(_take, file, digest, shown), answer.stream(min_chunk_size=PIECE))
                if digest.hexdigest() == md5.removesuffix(".dir"):
                    os.fchmod(file.fileno(), READ_ONLY)
                    temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    async def _push(self, gate: asyncio.Semaphore, shown: Shown, md5: str) -> None:
        import obstore

        path = self._path(md5)
        size = path.stat().st_size
        if size <= LARGE:
            content = path.read_bytes()
            _check(path, hashlib.md5(content, usedforsecurity=False).hexdigest(), md5)
            await obstore.put_async(self._store, _key(md5), content, use_multipart=False)
            shown.add(0, size)
            return
        part = max(PART, -(-size // (MAX_PARTS - 1) // PIECE) * PIECE)  # whole pieces
        async with gate:
            await obstore.put_async(
                self._store,
                _key(md5),
                self._pieces(path, md5, part, shown),
                use_multipart=True,
                chunk_size=part,
                max_concurrency=PARTS_AT_ONCE,
            )

    async def _pieces(self, path: Path, md5: str, part: int, shown: Shown) -> AsyncIterator[bytes]:
        """A file's bytes; an error instead of the end if they are not its own, so that the store names nothing by them.

        Args:
            part: bytes of each part of the upload, whose MD5 digests together make the ETag that S3 will tell.
        """
        whole, one, sent, digests = hashlib.md5(usedforsecurity=False), None, 0, b""
        with path.open("rb", buffering=0) as file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                if sent % part == 0:
                    digests += one.digest() if one else b""
                    one = hashlib.md5(usedforsecurity=False)
                await asyncio.to_thread(_hash, piece, whole, one)
                sent += len(piece)
                yield piece
                shown.add(0, len(piece))
        digests += one.digest() if one else b""
        _check(path, whole.hexdigest(), md5)
        combined = hashlib.md5(digests, usedforsecurity=False).hexdigest()
        self._in_parts[md5] = f"{combined}-{len(digests) // 16}"

    def _path(self, md5: str) -> Path:
        return self._cache / "files/md5" / md5[:2] / md5[2:]


def _key(md5: str) -> str:
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def _info(item: Any) -> ObjectInfo:
    return ObjectInfo(item["size"], (item["e_tag"] or "").strip('"'))


def _hash(piece: bytes, whole: Any, part: Any) -> None:
    whole.update(piece)
    part.update(piece)


def _take(file: BinaryIO, digest: Any, shown: Shown, piece: Any) -> None:
    digest.update(piece)
    remaining = memoryview(piece)
    while remaining:
        remaining = remaining[file.write(remaining) :]
    shown.add(0, len(piece))


async def _take_pieces(take: Callable[[Any], None], pieces: Any) -> None:
    """Hashes and writes in a thread while the next piece arrives."""
    loop = asyncio.get_running_loop()
    taken = None
    try:
        async for piece in pieces:
            if taken is not None:
                await taken
            taken = loop.run_in_executor(None, take, piece)
    finally:
        if taken is not None:
            await taken


def _check(path: Path, found: str, md5: str) -> None:
    if found != md5.removesuffix(".dir"):
        raise DataError(
            f"the cache's object {md5} is damaged: its bytes have another hash ({path}); it was not sent",
            f"mv {path} {path}.damaged, then dvc add the data where it is whole, and the same command",
        )
