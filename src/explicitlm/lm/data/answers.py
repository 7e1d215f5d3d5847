"""What a model answered: one row an item of its last evaluation, as JSON lines in zstd.

The rows hold the items' texts, so that two models can be compared where neither weights nor data are. 100,000 rows take
about 6 MB; equal answers give equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import zstandard
from msgspec import Meta

from explicitlm.common.errors import DataError
from explicitlm.common.files import sync_folder

_LEVEL = 9  # higher levels take longer and save no more than 3 %
_MOST_BYTES = 1 << 30  # of text in one file: more is no list of answers


class Answer(msgspec.Struct, frozen=True):
    """One item and what the model made of it.

    Attributes:
        task, uuid, prompt, choices, answer: the item; answer is the index of the right choice.
        scores: mean log-probability of each choice's tokens; None where it is no number.
        choice: index of the choice with the largest score.
        row: the bank row of the fact that the item is about; None where there is no such fact.
        read: the bank rows read at the prompt's last token, one a layer that routes.
        hit: whether the fact's row was among them; None where there is no such fact.
    """

    task: str
    uuid: str | None
    prompt: str
    choices: Annotated[list[str], Meta(min_length=1)]
    answer: Annotated[int, Meta(ge=0)]
    scores: list[float | None]
    choice: Annotated[int, Meta(ge=0)]
    row: int | None
    read: list[int]
    hit: bool | None

    def __post_init__(self) -> None:
        if max(self.answer, self.choice) >= len(self.choices):
            raise ValueError("an index beyond the choices")

    @property
    def right(self) -> bool:
        """Whether the choice is the right one."""
        return self.choice == self.answer


def write(path: Path, answers: Iterable[Answer]) -> None:
    """Writes answers; a reader sees the old file or the new one.

    Raises:
        OSError: the disk is full or read-only.
    """
    rows = ({**msgspec.structs.asdict(answer), "right": answer.right} for answer in answers)
    lines = msgspec.json.Encoder().encode_lines(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(zstandard.ZstdCompressor(level=_LEVEL).compress(lines))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)  # an old one may be a link into DVC's cache
    sync_folder(path.parent)


def read(path: Path) -> list[Answer]:
    """Reads what `write` wrote.

    Raises:
        DataError: it is something else, or damaged.
    """
    again = "bring the file again"
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            text = stream.read(_MOST_BYTES + 1)
    except zstandard.ZstdError as error:
        raise DataError(f"{path}: damaged zstd ({error})", again) from None
    if len(text) > _MOST_BYTES:
        raise DataError(f"{path} holds more than {_MOST_BYTES >> 20} MiB", again)
    found, decoder = [], msgspec.json.Decoder(Answer)
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found.append(decoder.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is no answer to an item ({error})", again) from None
    return found
