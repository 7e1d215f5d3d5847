"""Where records lie, and reading and writing them whole."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from explicitlm.common import layout
from explicitlm.common.aside import take_back
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_json
from explicitlm.common.ids import is_id
from explicitlm.lm.typed import checked, decode, dump
from explicitlm.records.schema import Record


def ids(root: Path) -> list[str]:
    """Ids of all experiments that have a record in a checkout."""
    return sorted(path.stem for path in (root / layout.RECORDS).glob("*.json"))


def save(root: Path, record: Record) -> Path:
    """Writes a record atomically, keys in the schema's order.

    A person's conclusion, which no stage knows of, outlives a record that is written anew.
    """
    path = root / layout.record(record.experiment.id)
    if record.conclusion is None and path.exists():
        record = replace(record, conclusion=load(root, record.experiment.id).conclusion)
    write_json(path, dump(checked(record)))
    return path


def parse(text: str, source: str, experiment: str) -> Record:
    """Reads the record of an experiment.

    Raises:
        UsageError: it is none, or was edited into something else, such as another experiment's.
    """
    try:
        record = decode(text, Record)
    except ValueError as error:
        raise UsageError(f"{source} is not a valid record: {error}", take_back(source)) from None
    if record.experiment.id != experiment or not is_id(experiment):
        raise UsageError(f"{source} is the record of {record.experiment.id!r}, not of {experiment!r}",
                         f"git log -p -- {layout.record(experiment)} shows who wrote that")  # fmt: skip
    return record


def load(root: Path, experiment: str) -> Record:
    """The record of an experiment in a checkout.

    Raises:
        UsageError: there is none, or it is broken.
    """
    path = root / layout.record(experiment)
    try:
        return parse(path.read_text(encoding="utf-8"), layout.record(experiment), experiment)
    except FileNotFoundError:
        raise UsageError(f"{experiment} has no record", f"ls {layout.RECORDS}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{layout.record(experiment)} is not a valid record: it is not UTF-8",
                         take_back(layout.record(experiment))) from None  # fmt: skip
