"""Writes a version of the sample data in the formats of real data (docs/data-formats.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.datasets.sample import tasks, text
from explicitlm.datasets.sample.world import VERSIONS, Part, World, build

__all__ = ["VERSIONS", "write"]


def write(version: int, folder: Path) -> None:
    """Writes database/, benchmarks/ and knowledge_base/ under an empty or new folder.

    Args:
        version: one of VERSIONS; 2 is the later state of the world, with more people and some changed facts.
        folder: where to; equal bytes each time.

    Raises:
        UsageError: no such version, or the folder is not empty.
        OSError: the disk does not take it.
    """
    if version not in VERSIONS:
        raise UsageError(f"sample data has no version {version}", f"choose one of {VERSIONS}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder", "name a new folder, or empty this one")
    for name, content in files(build(version)).items():
        write_text(folder / name, content)


def files(world: World) -> dict[str, str]:
    """The content of every file, by its path under the target folder."""
    training = text.training_text(world)
    training["practice"] = tasks.practice(world)
    content = {f"database/{name}.jsonl": _texts(documents) for name, documents in training.items()}
    content["benchmarks/tasks.jsonl"] = _lines(tasks.items(world))
    content["benchmarks/validation.jsonl"] = _texts(text.validation_text(world, training))
    held_out = {"held": [fact.uuid for fact in world.facts if fact.held_out]}
    content["benchmarks/held.json"] = json.dumps(held_out, indent=0) + "\n"
    for name, part in (("people", world.people), ("places", world.places), ("chinese", world.chinese)):
        content[f"knowledge_base/{name}.json"] = _entries(part)
    return content


def _entries(part: Part) -> str:
    """One entry a fact, as the paper's code reads them."""
    entries = [
        {
            "target": [
                {
                    "sentence": fact.sentence,
                    "uuid": fact.uuid,
                    "subject": fact.subject,
                    "predicate": fact.predicate.name,
                    "object": fact.object,
                }
            ]
        }
        for fact in part.facts
    ]
    return json.dumps(entries, ensure_ascii=False, indent=0) + "\n"


def _texts(documents: Iterable[str]) -> str:
    return _lines({"text": document} for document in documents)


def _lines(values: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
