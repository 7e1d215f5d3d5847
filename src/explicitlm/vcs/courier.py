"""A courier: a DVC project that lives for seconds, to move exactly named versions between cache and remote.

It has the main project's cache, remotes and credentials and nothing but the .dvc files given to it. So data of any
version can be fetched, checked and pushed while the user's own .dvc files and folders stay as they are, from inside
a stage too, and its cost does not grow with the number of experiments.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configobj import ConfigObj

from explicitlm.errors import DataError, StorageError
from explicitlm.vcs.dvc import Dvc
from explicitlm.vcs.pointer import Pointer, parse_pointer


class Courier:
    """See the module. Made by `courier`."""

    def __init__(self, folder: Path, cache: Path, remote: str | None) -> None:
        self._folder = folder
        self._cache = cache
        self._dvc = Dvc(folder, site_cache=folder / "site")
        self.remote = remote

    def missing(self, pointer: Pointer) -> list[str]:
        """Hashes of the objects that the cache lacks; a folder's list, when missing, stands for its files."""
        if not self._object(pointer.md5).exists():
            return [pointer.md5]
        return [md5 for md5 in self.parts(pointer) if not self._object(md5).exists()]

    def fetch(self, path: str, pointer: Pointer) -> None:
        """Brings one version from the remote into the cache.

        Raises:
            DataError: neither the cache nor the remote has it.
        """
        if not self.missing(pointer):
            return
        remote = self.remote or "(none configured)"
        self._place({path: pointer})
        try:
            self._dvc.fetch(f"{pointer.name}.dvc")
            cause = ""
        except StorageError as error:
            cause = f" ({error.cause})"
        if lost := self.missing(pointer):
            raise DataError(
                f"{path} ({pointer.md5[:8]}): {len(lost)} object(s) neither in the cache nor on remote {remote}{cause}: "
                "pushed by nobody, or the remote is out of reach",
                f"where the data was added: dvc push {path}; here: dvc remote list, explicitlm doctor",
            )

    def push(self, pointers: Mapping[str, Pointer]) -> None:
        """Sends versions to the remote and makes sure that it really holds every object.

        A remote that lost an object keeps saying "up to date" while it still has the folder's list (measured:
        facts/infra.md), so the objects themselves are asked for; a lying list is removed there and sent again.

        Raises:
            StorageError: the remote is out of reach, full, or still incomplete after the repair.
        """
        self._place(pointers)
        targets = [f"{pointer.name}.dvc" for pointer in pointers.values()]
        self._dvc.push(*targets)
        if lost := self._lost(pointers):
            self._forget([pointer.md5 for pointer in pointers.values() if pointer.md5.endswith(".dir")])
            self._dvc.push(*targets)
            lost = self._lost(pointers)
        if lost:
            raise StorageError(f"remote {self.remote} still lacks {len(lost)} object(s), the first is {lost[0]}",
                               "explicitlm doctor")  # fmt: skip

    def add(self, source: Path) -> Pointer:
        """Takes a folder into the cache, by links where the file system has them.

        Args:
            source: a folder inside the courier's (see `folder`).
        """
        self._dvc.add(source.name)
        return parse_pointer((self._folder / f"{source.name}.dvc").read_text(encoding="utf-8"), source.name)

    @property
    def folder(self) -> Path:
        """Where folders to `add` are made."""
        return self._folder

    def _place(self, pointers: Mapping[str, Pointer]) -> None:
        for pointer in pointers.values():
            (self._folder / f"{pointer.name}.dvc").write_text(pointer.text(), encoding="utf-8")

    def _object(self, md5: str) -> Path:
        return self._cache / "files/md5" / md5[:2] / md5[2:]

    def parts(self, pointer: Pointer) -> list[str]:
        """Hashes of a folder's files, from its list in the cache."""
        if not pointer.md5.endswith(".dir"):
            return []
        entries: list[dict[str, Any]] = json.loads(self._object(pointer.md5).read_text(encoding="utf-8"))
        return sorted({str(entry["md5"]) for entry in entries})

    def _lost(self, pointers: Mapping[str, Pointer]) -> list[str]:
        needed = {md5 for pointer in pointers.values() for md5 in (pointer.md5, *self.parts(pointer))}
        return sorted(needed - set(self._store().oids_exist(sorted(needed), jobs=16)))

    def _forget(self, lists: list[str]) -> None:
        store = self._store()
        for md5 in store.oids_exist(lists, jobs=16):
            store.delete(md5)

    def _store(self) -> Any:
        from dvc.repo import Repo  # DVC has no command that asks a remote for single objects

        return Repo(str(self._folder)).cloud.get_remote_odb(self.remote)


@contextmanager
def courier(main: Path) -> Iterator[Courier]:
    """Makes a courier for the project at `main` and removes it afterwards."""
    config = _absolute_config(main / ".dvc")
    cache = Path(config["cache"]["dir"])
    temporary = main / ".dvc/tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=temporary, prefix="courier-") as name:
        folder = Path(name)
        (folder / ".dvc").mkdir()
        config.filename = str(folder / ".dvc/config")
        config.write()
        (folder / ".dvc/config").chmod(0o600)  # it may hold credentials
        yield Courier(folder, cache, config.get("core", {}).get("remote"))


def _absolute_config(dvc_folder: Path) -> ConfigObj:
    """The project's and the machine's DVC configuration as one, with absolute paths and no git."""
    if not dvc_folder.is_dir():
        from explicitlm.vcs.dvc import NOT_INITIALISED

        raise NOT_INITIALISED
    merged = ConfigObj(list_values=False, encoding="utf-8")
    for level in ("config", "config.local"):
        part = ConfigObj(str(dvc_folder / level), list_values=False, encoding="utf-8")
        for section in part.sections:
            for key in ("url", "dir"):
                value = part[section].get(key)
                if isinstance(value, str) and "://" not in value:
                    part[section][key] = str((dvc_folder / value).resolve())
        merged.merge(part)
    merged.setdefault("core", {})["no_scm"] = "true"
    merged["core"]["analytics"] = "false"
    merged.setdefault("cache", {}).setdefault("dir", str((dvc_folder / "cache").resolve()))
    return merged
