"""Data for benchmarks/knowledge.py: a world whose facts stand in the text, in the bank only, or come after training.

The sample's text leaves facts out by itself. Of other data, whose text says nearly everything, `HIDDEN_SHARE` of the
facts are hidden: every sentence that names both the subject and the object of one is taken out of the text.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from explicitlm.datasets.sample import write
from explicitlm.datasets.sample.draw import Draw
from explicitlm.lm.data.benchmarks import Item
from explicitlm.lm.data.knowledge import Fact, read_facts
from explicitlm.lm.data.labels import FactFinder

INSERTED_SHARE = 1 / 3  # of the facts that no text says
HIDDEN_SHARE = 0.3  # of the facts of data other than the sample
ITEMS = 250  # a cell at most


@dataclass(frozen=True)
class World:
    """A folder with data/, and the facts by where they stand.

    groups: in_text, bank_only and inserted; the last are in no file of the folder.
    """

    folder: Path
    groups: dict[str, list[Fact]]
    items: dict[str, list[Item]]


def make(source: Path | None, folder: Path, rows_as_text: bool, crowd: int = 0) -> World:
    """Builds the world of a data folder (None: the sample's version 2).

    Args:
        crowd: facts in the bank with those about people of other first and family names that are added; 0: none.
        rows_as_text: adds the bank's sentences to the text, half of them with another's object, until they are 1/8.
    """
    if source is None:
        write(2, folder / "data")
        facts = read_facts(folder / "data/knowledge_base")
    else:
        for name in ("benchmarks", "knowledge_base"):
            shutil.copytree(source / name, folder / "data" / name)
        facts = read_facts(source / "knowledge_base")
        _hide(source / "database", folder / "data/database", facts)
    documents = [text for path in sorted((folder / "data/database").glob("*.jsonl")) for text in _texts(path)]
    finder = FactFinder(dict(enumerate(facts)))
    told = {row for text in documents for _, _, row in finder.places(text)}
    groups: dict[str, list[Fact]] = defaultdict(list)
    for row, fact in enumerate(facts):
        later = Draw("inserted", fact.sentence).chance(INSERTED_SHARE)
        groups["in_text" if row in told else "inserted" if later else "bank_only"].append(fact)
    subprocess.run(["chmod", "-R", "u+w", str(folder / "data")], check=True)  # a source may be read-only
    shutil.rmtree(folder / "data/knowledge_base")
    (folder / "data/knowledge_base").mkdir()
    kept = [fact for fact in facts if fact not in set(groups["inserted"])]
    kept += _crowd(facts, max(0, crowd - len(facts)))
    keys = ("sentence", "uuid", "subject", "predicate", "object")
    entries = [{"target": [{key: getattr(fact, key) for key in keys}]} for fact in kept]
    (folder / "data/knowledge_base/facts.json").write_text(json.dumps(entries, ensure_ascii=False))
    if rows_as_text:
        _add_rows(folder / "data/database/rows.jsonl", kept, sum(map(len, documents)) // 8)
    alike: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        if fact.object not in alike[fact.predicate]:
            alike[fact.predicate].append(fact.object)
    items = {name: _items(name, members, alike) for name, members in groups.items()}
    return World(folder, dict(groups), items)


def _crowd(facts: list[Fact], count: int) -> Iterator[Fact]:
    """Facts about other people, named by the first names and family names of the world's own."""
    people = [fact for fact in facts if re.fullmatch(r"[A-Z]\w+ [A-Z]\w+", fact.subject)]
    named = {fact.subject for fact in people}
    first, last = (sorted({name.split()[part] for name in named}) for part in (0, 1))
    sayings: dict[str, list[Fact]] = defaultdict(list)
    for fact in people:
        sayings[fact.predicate].append(fact)
    draw = Draw("crowd")
    others = draw.some(
        [name for f in first for name in (f"{f} {family}" for family in last) if name not in named], count
    )
    for name in others:
        for said in (draw.pick(alike) for alike in sayings.values()):
            if not count:
                return
            count -= 1
            sentence = said.sentence.replace(said.subject, name)
            yield replace(said, sentence=sentence, subject=name, uuid=f"crowd-{count}")


def _texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def _hide(source: Path, target: Path, facts: list[Fact]) -> None:
    """Copies texts that name a fact's subject, without the sentences that say a hidden fact."""
    hidden = [fact for fact in facts if fact.object and Draw("hidden", fact.sentence).chance(HIDDEN_SHARE)]
    finder = FactFinder(dict(enumerate(hidden)))
    subjects = {fact.subject for fact in facts}
    target.mkdir(parents=True)
    for path in sorted(source.glob("*.jsonl")):
        about = [text for text in _texts(path) if any(subject in text for subject in subjects)]
        if len(about) < len(_texts(path)) / 2:
            continue  # a text about something else
        kept = [" ".join(part for part in _sentences(text) if not any(finder.places(part))) for text in about]
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in kept if text]
        (target / path.name).write_text("".join(lines), encoding="utf-8")


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+", text)


def _add_rows(path: Path, facts: list[Fact], size: int) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        alike[fact.predicate].append(fact.object)
    lines, written, lap = [], 0, 0
    while written < size:
        draw = Draw("rows as text", lap)
        said = []
        for fact in draw.some(facts, 8):
            shown = draw.pick(alike[fact.predicate]) if draw.chance(0.5) else fact.object
            said.append(fact.sentence.replace(fact.object, shown))
        text = " ".join(said)
        lines.append(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        written, lap = written + len(text), lap + 1
    path.write_text("".join(lines), encoding="utf-8")


def _items(name: str, facts: list[Fact], alike: dict[str, list[str]]) -> list[Item]:
    """Up to ITEMS questions for the object, in the words of the sentence, with three objects of the same predicate."""
    draw, items = Draw("items", name), []
    for fact in draw.some(facts, len(facts)):
        stem = fact.sentence.rstrip(".").removesuffix(fact.object).rstrip()
        others = [said for said in alike[fact.predicate] if said != fact.object]
        if stem == fact.sentence.rstrip(".") or not stem.isascii() or len(others) < 3:
            continue
        choices = draw.some([fact.object, *draw.some(others, 3)], 4)
        items.append(Item("object_prediction", stem, tuple(choices), choices.index(fact.object), fact.uuid))
        if len(items) == ITEMS:
            break
    return items
