"""All records of a checkout as plain rows, read fast and whatever is broken among them.

A table needs neither the schema's checks nor all of a record: a row keeps what can be compared. Rows are kept in a
file that git ignores, each beside the signature of the JSON file it was read from; a file whose signature is another
is read anew, so the JSON files alone decide.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explicitlm.common import layout
from explicitlm.common.files import sha256, write_text
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import dump
from explicitlm.records import equivalence
from explicitlm.records.problem import Problem

SCHEMA_VERSIONS = (1,)
SECTIONS = ("head", "params", "metrics", "data", "code", "environment")
# Of the environment, what can change a number; the versions of all packages stay in the record.
ENVIRONMENT = ("device", "gpus", "num_gpus", "world_size", "precision", "num_threads", "cpu", "platform",
               "python_version", "torch_version", "cuda_version")  # fmt: skip
CODE = {"lm": "src/explicitlm/lm", "common": "src/explicitlm/common", "script": layout.TRAINING_SCRIPT,
        "requirements": layout.REQUIREMENTS}  # fmt: skip
# Of hyperparameters that are younger than a record: what the code did before it had them
DEFAULTS = dump(TrainConfig())
_SETTLED_S = 2.0  # a file as young as this may change again without its times changing


class Row:
    """What can be compared of one record, in the sections of `SECTIONS`; each maps names to plain values.

    alike: stands for all versions of lm/ that were seen to train as this one does; None where no other is known.
    """

    __slots__ = (*SECTIONS, "alike")

    def __init__(self, sections: dict[str, dict[str, Any]], alike: str | None = None) -> None:
        self.head = sections["head"]
        self.params = DEFAULTS | sections["params"]
        self.metrics = sections["metrics"]
        self.data = sections["data"]
        self.code = sections["code"]
        self.environment = sections["environment"]
        self.alike = alike

    @property
    def id(self) -> str:
        """The experiment's id."""
        return str(self.head["id"])

    @property
    def finished(self) -> bool:
        """Whether the training left a checkpoint."""
        return bool(self.head["status"] == "finished")

    def get(self, name: str) -> Any:
        """A value by its name, bare (`val_loss`) or with its section (`metrics.val_loss`); None where it has none."""
        section, dot, rest = name.partition(".")
        if dot and section in SECTIONS:
            return getattr(self, section).get(rest)
        for section in SECTIONS:
            values: dict[str, Any] = getattr(self, section)
            if name in values:
                return values[name]
        return None

    def names(self) -> Iterator[str]:
        """All names that `get` takes: bare ones, and those with their sections."""
        for section in SECTIONS:
            for name in getattr(self, section):
                yield name
                yield f"{section}.{name}"


@dataclass(frozen=True)
class Rows:
    """rows: by time, oldest first; problems: one a file that could not be read."""

    rows: list[Row]
    problems: list[Problem]


def load(root: Path) -> Rows:
    """Reads all records of a checkout."""
    kept = _kept(root)
    fresh: dict[str, Any] = {}
    alike, problems = equivalence.classes(root)
    verdicts, no_verdicts = _verdicts(root)
    problems += no_verdicts
    rows = []
    settled = time.time() - _SETTLED_S
    for name, path, signature in _files(root):
        known = kept.get(name)
        try:
            row = known[1] if known and known[0] == signature else parse(Path(path).read_bytes(), name)
        except (ValueError, OSError) as error:
            problems.append(Problem(f"{layout.RECORDS}/{name}.json", str(error)))
            continue
        if max(signature[0], signature[1]) / 1e9 < settled:
            fresh[name] = [signature, row]
        if name in verdicts:
            row = {**row, "head": row["head"] | verdicts[name]}  # what is kept of the file stays without it
        rows.append(Row(row, alike.get(str(row["code"].get("lm")))))
    if fresh.keys() != kept.keys() or any(
        fresh[name] is not kept[name] and fresh[name] != kept[name] for name in fresh
    ):
        _keep(root, fresh)
    rows.sort(key=lambda row: (row.head["timestamp"], row.id))
    return Rows(rows, problems)


def _verdicts(root: Path) -> tuple[dict[str, dict[str, str]], list[Problem]]:
    """What came of reproducing experiments, by id, as it stands in a row's head; and the files that are no verdicts."""
    if not (root / layout.VERDICTS).is_dir():
        return {}, []
    from explicitlm.records.verdict import load_verdicts  # with msgspec, which a table without any need not wait for

    found = load_verdicts(root)
    heads: dict[str, dict[str, str]] = {
        name: {"verdict": each.verdict, "verdict_how": each.how} for name, each in found.by_experiment.items()
    }
    return heads, found.problems


def parse(text: bytes, name: str) -> dict[str, dict[str, Any]]:
    """The sections of a row.

    Args:
        text: a record's JSON. name: the id that its file name says.

    Raises:
        ValueError: it is not a record of that id, in one line.
    """
    try:
        record = json.loads(text, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 (of a file's content, not of an argument)
    version = record.get("schema_version")
    if version not in SCHEMA_VERSIONS:
        known = ", ".join(str(number) for number in SCHEMA_VERSIONS)
        raise ValueError(f"its schema version is {_short(version)}, and this explicitlm reads {known}")
    try:
        return _sections(record, name)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a record: {_short(error)} is missing or of another kind") from None


def _sections(record: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    experiment, results, versions = record["experiment"], record["results"], record["versions"]
    if experiment["id"] != name:
        raise ValueError(f"it is the record of {_short(experiment['id'])}, by another name")
    timing, failure, code = record.get("timing") or {}, record.get("failure") or {}, record["code"]
    outcome, dependencies = record.get("outcome") or {}, record.get("dependencies") or {}
    if not isinstance(record["seed"], int):
        raise TypeError("'seed'")
    head = {
        "id": name,
        "status": str(record["status"]),
        "seed": record["seed"],
        "description": str(experiment["description"]),
        "timestamp": str(experiment["timestamp"]),
        "duration_s": timing.get("duration_s"),
        "against": _text(outcome.get("against")),
        "expect": _text(outcome.get("expect")),
        "outcome": _text(outcome.get("verdict")),
        "conclusion": _text(record.get("conclusion")),
        "error": str(failure["error"]).split("\n", 1)[0] if failure.get("error") else None,
        "checkpoint": _text(versions["checkpoint_hash"]),
        "tag": _text(versions["experiment_tag"]),
        "url": _text(results["swanlab_url"]),
        "items": _text((results.get("items") or {}).get("md5")),
        "verdict": None,  # of others' checks, which lie beside the record
        "verdict_how": None,
    }
    return {
        "head": head,
        "params": _plain(record["hyperparameters"]),
        "metrics": {key: value for key, value in _plain(results["metrics"]).items() if value is not None},
        "data": {folder: _text(details["md5"]) if details else None for folder, details in record["data"].items()},
        "code": {
            "commit": str(versions["code_commit"]),
            "dirty": bool(code["dirty"]),
            **{short: str(dependencies[path]) for short, path in CODE.items() if path in dependencies},
        },
        "environment": _plain({key: record["environment"].get(key) for key in ENVIRONMENT}),
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers and texts as they are; a list as one text, anything deeper left out."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list):
            plain[key] = ", ".join(str(item) for item in value)
        elif value is None or isinstance(value, str | int | float):
            plain[key] = value
    return plain


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, Exception) else str(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _files(root: Path) -> Iterator[tuple[str, str, list[int]]]:
    """Id, path and signature of every JSON file among the records."""
    try:
        entries = list(os.scandir(root / layout.RECORDS))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.endswith(".json") and not entry.name.startswith("."):
            stat = entry.stat()
            signature = [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]
            yield entry.name.removesuffix(".json"), entry.path, signature


def _kept(root: Path) -> dict[str, Any]:
    """Rows that were read before, by id: [signature, row]; none where another version of this module kept them."""
    try:
        kept = json.loads((root / layout.ROWS).read_bytes())
        found = kept["rows"] if kept["reader"] == _reader() else {}
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(root: Path, rows: dict[str, Any]) -> None:
    try:
        write_text(root / layout.ROWS, json.dumps({"reader": _reader(), "rows": rows}, separators=(",", ":")))
    except OSError:
        return  # a checkout that may only be read is read more slowly


def _reader() -> str:
    return sha256(Path(__file__).read_bytes())
