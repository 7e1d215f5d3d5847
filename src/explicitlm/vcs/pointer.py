"""`.dvc` files: which version of some data a commit names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from explicitlm.common.aside import take_back
from explicitlm.common.errors import ConfigError, DataError
from explicitlm.common.names import is_inside
from explicitlm.vcs.yaml_file import load_yaml


@dataclass(frozen=True)
class Pointer:
    """One version of some data, by content.

    Attributes:
        md5: DVC's hash; of a folder it ends in `.dir`.
        size: bytes, None where the file does not say.
        nfiles: files of a folder, None where the file does not say.
        name: the name of the data beside its .dvc file.
        legacy: whether DVC 2 wrote it, whose hashes of text files are of another kind.
        imported: whether `dvc import` made it: DVC's own push and pull then go to where it came from.
        source: the text it was read from; "" for a pointer of our own making.
    """

    md5: str
    size: int | None
    nfiles: int | None
    name: str
    legacy: bool = field(default=False, compare=False)
    imported: bool = field(default=False, compare=False)
    source: str = field(default="", compare=False, repr=False)

    def text(self) -> str:
        """The .dvc file: as it was read, or byte for byte as `dvc add` writes it."""
        if self.source:
            return self.source
        lines = ["outs:", f"- md5: {self.md5}"]
        if self.size is not None:
            lines.append(f"  size: {self.size}")
        if self.nfiles is not None:
            lines.append(f"  nfiles: {self.nfiles}")
        return "\n".join([*lines, "  hash: md5", f"  path: {self.name}", ""])


def parse_pointer(text: str, path: str, expected: str | None = None) -> Pointer:
    """Reads the text of a .dvc file.

    Args:
        text: its content.
        path: where it was read, for the message.
        expected: the name of the data that it must be of; None for any plain name.

    Raises:
        DataError: it is no .dvc file of one tracked file or folder, or of data that lies elsewhere.
    """
    broken = DataError(f"{path} is broken: it names no version of any data", take_back(path))
    try:
        content = load_yaml(text, path)
    except ConfigError:
        raise broken from None
    outs = content.get("outs")
    if not isinstance(outs, list) or len(outs) != 1 or not isinstance(outs[0], dict):
        raise broken
    out: dict[str, Any] = outs[0]
    md5, name = out.get("md5"), out.get("path")
    if not isinstance(md5, str) or not is_hash(md5) or not isinstance(name, str):
        raise broken
    if not is_inside(name) or "/" in name or expected not in (None, name):
        raise DataError(f"{path} is of {name!r}, not of {expected or 'a name beside it'}", broken.hint)
    if found := sorted({"wdir", "cmd"} & content.keys()):
        raise DataError(f"{path} says {', '.join(found)}: it would act elsewhere than on {name}", broken.hint)
    return Pointer(
        md5,
        out.get("size"),
        out.get("nfiles"),
        name,
        legacy=out.get("hash") != "md5",
        imported="deps" in content,
        source=text,
    )


def is_hash(text: str) -> bool:
    """Whether a text is one of DVC's hashes, and so safe as a part of a path."""
    digest = text.removesuffix(".dir")
    return len(digest) == 32 and all(letter in "0123456789abcdef" for letter in digest)
