"""A data store: a DVC project that lives for seconds, to move exactly named versions between cache and remote.

It has the main project's cache, remotes and credentials and nothing but the .dvc files given to it. So data of any
version can be fetched, checked and pushed while the user's own .dvc files and folders stay as they are, from inside
a stage too, and its cost does not grow with the number of experiments. Between the cache and an S3 store objects are
moved without DVC (`object_transfer`), in its layout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explicitlm.common import layout
from explicitlm.common.errors import DataError, ExplicitLMError, StorageError, TransferError
from explicitlm.common.files import write_text
from explicitlm.common.shown import without_secrets
from explicitlm.vcs.cache import Cache, make_folder
from explicitlm.vcs.dvc import Dvc, DvcError
from explicitlm.vcs.dvc_config import dvc_config, for_transfer
from explicitlm.vcs.plain_s3 import plain_settings
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.remote import Remote, default_remote
from explicitlm.vcs.s3 import ask, probe, watching

if TYPE_CHECKING:
    from explicitlm.vcs.object_transfer import ObjectInfo, ObjectTransfer

NO_SPACE = re.compile("no space left|storagefull|insufficientcapacity|quotaexceeded|disk quota", re.IGNORECASE)
GO_ON = "the same command again goes on where this one stopped"


class DataStore(Cache):
    """See the module. Made by `open_store`."""

    def __init__(
        self, folder: Path, cache: Path, shared: bool, links: tuple[str, ...], memo: Path, remote: Remote | None
    ) -> None:
        super().__init__(cache, links, memo)
        self._shared = shared
        self._folder = folder
        self._dvc = Dvc(folder, site_cache=folder / "site")
        self._remote = remote

    @property
    def remote(self) -> Remote:
        """Where data comes from and goes to.

        Raises:
            StorageError: none is chosen.
        """
        if self._remote is None:
            raise StorageError("no default remote is chosen", "explicitlm remote local, or: explicitlm remote minio")
        return self._remote

    def fetch(self, requested: Mapping[str, Pointer]) -> None:
        """Brings versions from the remote into the cache.

        Args:
            requested: versions by the path of their data.

        Raises:
            DataError: neither the cache nor the remote has one, or the remote's copy is damaged.
            StorageError: the remote is out of reach or refuses; the disk is full.
        """
        missing = {path: pointer for path, pointer in requested.items() if self.missing(pointer)}
        if not missing:
            return
        before = self.hashes()
        self._check_store()
        failure = None
        try:
            self._with_retry(lambda: self._bring(missing))
        except StorageError as error:
            failure = error
        for path, pointer in missing.items():
            if lost := self.missing(pointer):
                raise self._missing_error(path, pointer, lost, failure)
            self._sound.update({pointer.md5, *self.parts(pointer)} - before)

    def _bring(self, lacking: Mapping[str, Pointer]) -> None:
        watch = watching(self.remote, ask)
        if self._objects is None:
            self._dvc.fetch(*self._place(lacking), watch=watch)
            return
        for _ in ("lists of folders", "what they list"):
            missing = {md5 for pointer in lacking.values() for md5 in self.missing(pointer)}
            self._objects.pull(missing, watch)

    def push(self, pointers: Mapping[str, Pointer]) -> None:
        """Sends versions to the remote and makes sure that it really holds every object, as it was sent.

        A remote that lost an object keeps saying "up to date" while it still has the folder's list (seen with DVC 3),
        so the objects themselves are asked for, and a lying list is removed there before anything is sent. What was
        sent is looked at there; what is otherwise than here is removed and sent again.

        A folder whose list is not here, as in a clone, is brought first: only then is it known what it holds.

        Raises:
            DataError: neither the cache nor the remote has it.
            StorageError: the remote is out of reach, full, or still incomplete or damaged after the repair.
        """
        self._check_store()
        self.fetch({path: pointer for path, pointer in pointers.items() if self.missing(pointer) == [pointer.md5]})
        objects = {path: {pointer.md5, *self.parts(pointer)} for path, pointer in pointers.items()}
        needed = set().union(*objects.values())
        wrong = sent = needed - self._whole_on_remote(needed)
        for _ in range(2):
            if wrong:
                moved = {path: pointer for path, pointer in pointers.items() if objects[path] & wrong}
                lists = {pointer.md5 for pointer in moved.values()}
                self._forget(wrong | lists)
                self._send(moved, wrong | lists)
                wrong = self._not_as_sent(sent | lists)
        if wrong:
            raise StorageError(
                f"remote {self.remote.place} lacks {len(wrong)} object(s) that were sent, or keeps them otherwise; "
                f"the first is {min(wrong)}",
                "explicitlm doctor; or choose another store",
            )

    def _send(self, pointers: Mapping[str, Pointer], hashes: Set[str]) -> None:
        """Sends versions; where DVC is not needed only those of their objects that the remote lacks."""
        try:
            self._with_retry(lambda: self._transmit(pointers, hashes))
        except StorageError as error:
            if self.remote.is_s3:
                probe(self.remote)  # says it better, if the store is gone or full
            raise _as_storage_error(error, f"remote {self.remote.place}") from None

    def _transmit(self, pointers: Mapping[str, Pointer], hashes: Set[str]) -> None:
        watch = watching(self.remote, probe)
        if self._objects is None:
            self._dvc.push(*self._place(pointers), watch=watch)
        else:
            self._objects.push(hashes, watch)

    def _with_retry(self, transfer: Callable[[], None]) -> None:
        """Transfers; once more after giving up on a store that answers, as after a cut of a moment (it goes on)."""
        try:
            transfer()
        except (DvcError, TransferError) as error:
            if not self.remote.is_s3 or NO_SPACE.search(error.cause):
                raise
            ask(self.remote)
            transfer()

    def _missing_error(
        self, path: str, pointer: Pointer, lost: list[str], failure: StorageError | None
    ) -> ExplicitLMError:
        """The error for objects that did not arrive."""
        if failure and self.remote.is_s3:
            ask(self.remote)
        if failure and NO_SPACE.search(failure.cause):
            return _as_storage_error(failure, f"the cache {self._cache}")
        there = sorted(self.on_remote(lost))
        if there == [pointer.md5] and pointer.md5.endswith(".dir"):  # the list is there: what of its files?
            lost = self._missing_files(pointer) or lost
            there = sorted(self.on_remote(lost))
        name = f"{path} ({pointer.md5[:8]})"
        if nowhere := len(lost) - len(there):
            added = f"where it was made: {_sent_again(path)}; here: dvc remote list, explicitlm doctor"
            imported = f"dvc pull {path}.dvc (it was imported: DVC fetches it from where it comes from)"
            return DataError(
                f"{name}: {nowhere} object(s) neither in the cache nor on remote {self.remote.place}: "
                "pushed by nobody?",
                imported if pointer.imported else added,
            )
        damaged = [md5 for md5 in there if self._is_damaged(md5)]
        if not damaged:
            reason = without_secrets(failure.cause) if failure else "DVC gave no reason"
            return StorageError(
                f"{name}: {len(there)} object(s) did not arrive from remote {self.remote.place}: {reason}", GO_ON
            )
        first = f"{without_secrets(self.remote.url)}/files/md5/{damaged[0][:2]}/{damaged[0][2:]}"
        files = ", ".join(self._files(pointer, damaged)[:3])
        return DataError(
            f"{name}: {len(damaged)} object(s) on remote {self.remote.place} are damaged, their bytes have another "
            f"hash ({files}); they were not used. The first is {first}",
            f"remove the damaged objects on the store, then where it was made: {_sent_again(path)}",
        )

    def _missing_files(self, pointer: Pointer) -> list[str]:
        """Files of a folder that the cache lacks, by the remote's list of them."""
        store = self._store()
        try:
            with store.fs.open(store.oid_to_path(pointer.md5), "r") as file:
                parts = {str(entry["md5"]) for entry in json.load(file)}
        except Exception:  # each kind of remote has its own errors; and the list may be damaged
            return []
        return sorted(parts - self.hashes())

    def _is_damaged(self, md5: str) -> bool:
        """Whether the remote's object, read and hashed now, is not what its name says."""
        store = self._store()
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with store.fs.open(store.oid_to_path(md5), "rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except Exception:  # each kind of remote has its own errors; unread is not damaged
            return False
        return digest.hexdigest() != md5.removesuffix(".dir")

    def add(self, source: Path) -> Pointer:
        """Takes a folder into the cache, by links where the file system has them.

        Args:
            source: a folder inside the store's own (see `folder`).
        """
        self._dvc.add(source.name)
        return parse_pointer((self._folder / f"{source.name}.dvc").read_text(encoding="utf-8"), source.name)

    def put(self, md5: str, content: str) -> None:
        """Takes a small object into the cache, unless it is there."""
        path = self._object(md5)
        if not path.exists():
            make_folder(path.parent, self._shared)
            write_text(path, content, mode=0o444)

    @property
    def folder(self) -> Path:
        """Where folders to `add` are made."""
        return self._folder

    def _place(self, pointers: Mapping[str, Pointer]) -> list[str]:
        for pointer in pointers.values():
            # Without what else the user's own says: DVC neither pushes an import nor knows its relative source here
            own = replace(pointer, source="").text()
            (self._folder / f"{pointer.name}.dvc").write_text(own, encoding="utf-8")
        return [f"{pointer.name}.dvc" for pointer in pointers.values()]

    def _whole_on_remote(self, hashes: Set[str]) -> set[str]:
        """Which of these objects the remote has; of an S3 store in the length that they have here."""
        if self._objects is None:
            return self.on_remote(hashes)
        here = self.lengths(hashes)
        there = self._info(self._objects, hashes)
        return {md5 for md5, info in there.items() if here.get(md5, info.size) == info.size}

    def _not_as_sent(self, hashes: Set[str]) -> set[str]:
        """Which of these objects the remote lacks, or has otherwise than their names say.

        A store that tells MD5 digests is believed; else an object of the right length is read back.
        """
        if self._objects is not None:
            objects, there, here = self._objects, self._info(self._objects, hashes), self.lengths(hashes)
            whole = {md5 for md5, info in there.items() if info.size == here.get(md5)}
            return {
                *(hashes - whole),
                *(md5 for md5 in whole if not objects.is_believed(md5, there[md5]) and self._is_damaged(md5)),
            }
        store = self._store()

        def is_wrong(md5: str) -> bool:
            path = store.oid_to_path(md5)
            try:
                info = store.fs.info(path)
            except FileNotFoundError:
                return True
            if info["size"] != self._object(md5).stat().st_size:
                return True
            return str(info.get("ETag", "")).strip('"') != md5.removesuffix(".dir") and self._is_damaged(md5)

        with ThreadPoolExecutor(16) as pool:
            names = sorted(hashes)
            return {md5 for md5, wrong in zip(names, pool.map(is_wrong, names), strict=True) if wrong}

    @cached_property
    def _objects(self) -> ObjectTransfer | None:
        """The quick way to the remote; None where only DVC knows one."""
        if not self.remote.is_s3:
            return None
        from explicitlm.vcs.object_store import handles
        from explicitlm.vcs.object_transfer import ObjectTransfer

        if plain_settings(self.remote) is None:
            ask(self.remote)  # a broken configuration is told in words
        return ObjectTransfer(self.remote, self._cache, self._shared) if handles(self.remote) else None

    def _check_store(self) -> None:
        """Asks a store before data moves; where it does not answer as it should, botocore is asked for the reason."""
        if self.remote.is_s3 and (self._objects is None or not self._objects.answers()):
            ask(self.remote)

    def on_remote(self, hashes: Iterable[str]) -> set[str]:
        """Which of these objects the remote has, by their names."""
        if self._objects is not None:
            return set(self._info(self._objects, set(hashes)))
        return set(self._store().oids_exist(sorted(hashes), jobs=16))

    def held_by_remote(self, lengths: Mapping[str, int]) -> set[str]:
        """Which of these objects the remote has in their full length; it is asked for each of them."""
        if self._objects is not None:
            there = self._info(self._objects, lengths.keys())
            return {md5 for md5, info in there.items() if info.size == lengths[md5]}
        store = self._store()
        found = self.on_remote(lengths)
        with ThreadPoolExecutor(16) as pool:
            sizes = pool.map(lambda md5: store.fs.size(store.oid_to_path(md5)), sorted(found))
            return {md5 for md5, size in zip(sorted(found), sizes, strict=True) if size == lengths[md5]}

    def _info(self, objects: ObjectTransfer, hashes: Set[str]) -> dict[str, ObjectInfo]:
        try:
            return objects.info(hashes)
        except TransferError as error:
            ask(self.remote)  # says it better, if the store is gone
            raise _as_storage_error(error, f"remote {self.remote.place}") from None

    @property
    def is_shared(self) -> bool:
        """Whether the cache is not this project's own, or is the remote itself."""
        own = self._cache.resolve().is_relative_to(self._folder.resolve().parents[1])
        folder = self.remote.folder
        return not own or (folder is not None and folder.resolve() == self._cache.resolve())

    def _forget(self, hashes: Iterable[str]) -> None:
        if self._objects is not None:  # a put takes the place of what is there, a list must not promise meanwhile
            lists = {md5 for md5 in hashes if md5.endswith(".dir")}
            self._objects.delete(self._info(self._objects, lists).keys())
            return
        store = self._store()
        for md5 in store.oids_exist(sorted(hashes), jobs=16):
            store.delete(md5)

    def _store(self) -> Any:
        from dvc.repo import Repo  # DVC has no command that asks a remote for single objects

        return Repo(str(self._folder)).cloud.get_remote_odb(self.remote.name)


def _sent_again(path: str) -> str:
    """`dvc push` would trust a remote that still has a folder's list (see `DataStore.push`)."""
    folder, _, name = path.rpartition("/")
    return f"explicitlm publish {name}" if folder == layout.CHECKPOINTS else f"explicitlm data push {name}"


def _as_storage_error(error: StorageError, place: str) -> StorageError:
    if NO_SPACE.search(error.cause):
        more = " (explicitlm archive --dry shows what can go)" if place.startswith("the cache") else ""
        return StorageError(f"{place} is full", f"free space there{more}, then the same command")
    return StorageError(f"{place}: {error.cause}", GO_ON)


@contextmanager
def open_store(main: Path) -> Iterator[DataStore]:
    """Opens the store of the project at `main` and removes it afterwards."""
    config = dvc_config(main)
    cache = Path(config["cache"]["dir"])
    temporary = main / ".dvc/tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=temporary, prefix="explicitlm-store-") as name:
        folder = Path(name)
        (folder / ".dvc").mkdir()
        with _in_memory(for_transfer(config)) as config_file:
            (folder / ".dvc/config").symlink_to(config_file)
            kinds = tuple(config["cache"]["type"].split(","))
            memo, shared = temporary / "explicitlm-hashed.json", config["cache"].get("shared") == "group"
            yield DataStore(folder, cache, shared, kinds, memo, default_remote(config))


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path of a file without a place on any disk: credentials are gone with this process, however it ends.

    DVC's own process reads it too, as one of the same user's.
    """
    with os.fdopen(os.memfd_create("explicitlm"), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


def remote_of(main: Path) -> Remote | None:
    """The default remote of the project at `main`; None if none is chosen."""
    return default_remote(dvc_config(main))
