"""DVC's cache on this disk: which objects it has, whether they still hold what their hash says, and laying them out.

Not by dvc_data's Tree, diff and checkout: they trust the paths and hashes that a folder's list names, and a read-only
object without looking into it again; to refuse both, everything here would have to be asked before them all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from explicitlm.common.aside import put_aside
from explicitlm.common.errors import DataError
from explicitlm.common.files import write_json
from explicitlm.common.names import is_inside
from explicitlm.vcs.pointer import Pointer, is_hash

MANY = 2000  # objects
LARGE = 16 << 20  # bytes; larger objects are hashed once, not at each switch


class Cache:
    """The objects of a cache.

    Args:
        folder: where it is.
        links: the kinds of link by which files are checked out, the best first (DVC's cache.type).
        memo: a file that notes which large objects were hashed; losing it costs time only.
    """

    def __init__(self, folder: Path, links: tuple[str, ...], memo: Path) -> None:
        self._cache = folder
        self._links = links
        self._memo = memo
        self._sound: set[str] = set()  # fetched and verified just now
        self._lists: dict[str, list[dict[str, str]]] = {}

    def missing(self, pointer: Pointer) -> list[str]:
        """Hashes of the objects that the cache lacks; a folder's list, when missing, stands for its files."""
        if not self._object(pointer.md5).exists():
            return [pointer.md5]
        parts = self.parts(pointer)
        if len(parts) < MANY:
            return [md5 for md5 in parts if not self._object(md5).exists()]
        stored = (
            self.hashes()
        )  # 256 folders are listed sooner than tens of thousands of files are asked for, one by one
        return [md5 for md5 in parts if md5 not in stored]

    def hashes(self) -> set[str]:
        """Hashes of all objects."""
        folders = _names(self._cache / "files/md5")
        return {head + tail for head in folders for tail in _names(self._cache / "files/md5" / head)}

    def lengths(self, hashes: Iterable[str]) -> dict[str, int]:
        """Bytes of those of the objects that the cache has."""
        paths = {md5: self._object(md5) for md5 in hashes}
        return {md5: path.stat().st_size for md5, path in paths.items() if path.is_file()}

    def is_link(self, file: Path, md5: str) -> bool:
        """Whether a file is one with an object, by a hard or symbolic link."""
        object_file = self._object(md5)
        return file.exists() and object_file.exists() and file.samefile(object_file)

    def remove(self, hashes: Iterable[str]) -> None:
        """Removes objects; whoever calls this knows that they can be had again."""
        for md5 in hashes:
            self._object(md5).unlink(missing_ok=True)

    def entries(self, pointer: Pointer) -> dict[str, str] | None:
        """Hashes of a folder's files by their path in it; None for a single file, or files with further properties."""
        if not pointer.md5.endswith(".dir"):
            return None
        listed = self._listed(pointer)
        if any(entry.keys() != {"md5", "relpath"} for entry in listed):
            return None  # such as an executable file: DVC knows what to do with it
        return {entry["relpath"]: entry["md5"] for entry in listed}

    def parts(self, pointer: Pointer) -> list[str]:
        """Hashes of a folder's files; of a single file none."""
        return sorted({entry["md5"] for entry in self._listed(pointer)}) if pointer.md5.endswith(".dir") else []

    def names(self, pointer: Pointer) -> list[str]:
        """Paths of a folder's files in it; of a single file none."""
        return [entry["relpath"] for entry in self._listed(pointer)] if pointer.md5.endswith(".dir") else []

    def link(self, files: Mapping[Path, str]) -> None:
        """Lays objects of the cache out, with the kind of link that DVC's cache.type asks for.

        Args:
            files: hashes by the path to make; nothing may be there yet.
        """
        from dvc_objects.fs.generic import transfer
        from dvc_objects.fs.local import localfs

        for parent in {path.parent for path in files}:
            parent.mkdir(parents=True, exist_ok=True)
        objects, paths = [str(self._object(md5)) for md5 in files.values()], [str(path) for path in files]
        transfer(localfs, objects, localfs, paths, links=list(self._links))

    def drop_damaged(self, hashes: Iterable[str]) -> list[str]:
        """Removes objects whose bytes are no longer those that their hash names, so that nobody uses them.

        Root may write through a read-only link, and then changes the cache's object with the file; DVC never looks at
        a read-only object again and would hand it out as the old version (measured).

        Returns:
            hashes of the removed objects.
        """
        hashed = self._hashed()
        damaged = []
        for md5 in sorted(set(hashes) - self._sound):
            path = self._object(md5)
            stat = path.stat()
            seen = [stat.st_ino, stat.st_size, stat.st_mtime_ns]
            if hashed.get(md5) == seen:
                continue
            if _md5(path) != md5.removesuffix(".dir"):
                damaged.append(md5)
            elif stat.st_size >= LARGE:
                hashed[md5] = seen
        for md5 in damaged:
            self._object(md5).unlink()
        if hashed != self._hashed():
            write_json(self._memo, hashed)
        return damaged

    def drop_edited(self, pointer: Pointer, folder: Path, names: Iterable[str]) -> list[str]:
        """Removes objects that are one with a file that was edited in place; the file stays as the user made it.

        Args:
            pointer: the version that the folder had. folder: where. names: paths of edited files in it.

        Returns:
            paths of the files whose old content is no longer in the cache.
        """
        entries = self.entries(pointer) if self._object(pointer.md5).exists() else None
        dropped = []
        for name in names:
            object_file = self._object((entries or {}).get(name, pointer.md5))
            if object_file.exists() and object_file.samefile(folder / name if name else folder):
                if (folder / name).is_symlink():
                    continue  # the object is the only copy of the edit
                object_file.unlink()
                dropped.append(name)
        return dropped

    def _hashed(self) -> dict[str, list[int]]:
        try:
            hashed: dict[str, list[int]] = json.loads(self._memo.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return {}
        return hashed

    def _object(self, md5: str) -> Path:
        return self._cache / "files/md5" / md5[:2] / md5[2:]

    def _listed(self, pointer: Pointer) -> list[dict[str, str]]:
        """A folder's list, as DVC keeps it: [{"md5": ..., "relpath": ...}, ...].

        Raises:
            DataError: it is none, or an entry of it would act outside the folder or the cache.
        """
        if pointer.md5 not in self._lists:
            self._lists[pointer.md5] = _checked(self._object(pointer.md5), pointer)
        return self._lists[pointer.md5]

    def _files(self, pointer: Pointer, hashes: list[str]) -> list[str]:
        """Names of the files with these hashes, of a folder whose list is here."""
        if not pointer.md5.endswith(".dir") or pointer.md5 in hashes:
            return [pointer.name]
        return [entry["relpath"] for entry in self._listed(pointer) if entry["md5"] in hashes]


def make_folder(folder: Path, shared: bool) -> None:
    """Makes a folder of the cache as DVC does.

    Args:
        shared: whether a group writes there (DVC's cache.shared).
    """
    if not folder.is_dir():
        make_folder(folder.parent, shared)
        folder.mkdir(exist_ok=True)
        if shared:
            folder.chmod(0o2775)


def _checked(path: Path, pointer: Pointer) -> list[dict[str, str]]:
    """Reads a list that may come from anybody who can write to the remote."""
    again = f"{put_aside(str(path))} fetches it again; if it comes back so, ask who added {pointer.name}"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # the latter: brackets within brackets, thousands deep
        raise DataError(f"the file list of {pointer.name} ({pointer.md5}) is not one", again) from None
    for entry in listed if isinstance(listed, list) else [listed]:
        name, md5 = (entry.get("relpath"), entry.get("md5")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not is_inside(name):
            raise DataError(f"the file list of {pointer.name} ({pointer.md5}) names {name!r}, which is no file inside "
                            "it; nothing was written", again)  # fmt: skip
        if not isinstance(md5, str) or not is_hash(md5) or md5.endswith(".dir"):
            raise DataError(f"the file list of {pointer.name} ({pointer.md5}) gives {name!r} the hash {md5!r}, "
                            "which is none; nothing was written", again)  # fmt: skip
    return list(listed)


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 (names alone, without a Path for each)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """DVC's hash of a folder as it lies on the disk, `<md5>.dir`; bytecode caches are left out, as .dvcignore does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    entries = [{"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
