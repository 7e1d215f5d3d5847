"""Benchmark items of the paper's three tasks (arXiv 2511.01581), and lines that show their form.

Half of the items are about seen facts and half about held ones. Chance is 1/4, 1/4 and 1/2: the wrong choices
come from the objects that the same predicate has elsewhere, the wrong relations from those of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from explicitlm.datasets.sample.draw import Draw
from explicitlm.datasets.sample.world import Fact, World

ITEMS = 240  # of each task
CHOICES = 4
RELATION_KINDS = ("town", "person")  # a person has four relations of each of these kinds


class Item(TypedDict):
    """A line of the benchmark: the fact it is about, the prompt, the choices, the right one's index."""

    task: str
    uuid: str
    prompt: str
    choices: list[str]
    answer: int


def items(world: World) -> list[Item]:
    """ITEMS items of each task, ordered by fact."""
    objects, related = examined(world)
    lines = []
    truth = {False: True, True: True}  # every second item of each half is a true statement
    for fact in objects:
        lines += [_object(fact, world), _verification(fact, world, is_true=truth[fact.held_out])]
        truth[fact.held_out] = not truth[fact.held_out]
    return lines + [_relation(fact, world) for fact in related]


def examined(world: World) -> tuple[list[Fact], list[Fact]]:
    """The facts of the object and verification items, and those of the relation items."""
    english = [*world.people.facts, *world.places.facts]
    ties = [fact for fact in world.people.facts if fact.predicate.kind in RELATION_KINDS]
    return _halves(english, "objects", world.version), _halves(ties, "relations", world.version)


def practice(world: World) -> list[str]:
    """Training documents in the form of the verification and relation tasks, about facts not examined."""
    objects, related = examined(world)
    taken = {fact.uuid for fact in (*objects, *related)}
    free = [fact for fact in world.people.facts if not fact.held_out and fact.uuid not in taken]
    documents = []
    for number in range(260):
        draw = Draw("practice", world.version, number)
        lines = []
        for fact in draw.some(free, 4):
            if fact.predicate.kind in RELATION_KINDS and draw.chance(0.5):
                item = _relation(fact, world)
            else:
                item = _verification(fact, world, is_true=draw.chance(0.5))
            lines.append(f"{item['prompt']} {item['choices'][item['answer']]}")
        documents.append("\n".join(lines))
    return documents


def _halves(facts: Sequence[Fact], name: str, version: int) -> list[Fact]:
    """ITEMS facts, half of them held, in the order of the knowledge base."""
    draw = Draw("examined", name, version)
    chosen = set[str]()
    for held_out in (False, True):
        chosen |= {fact.uuid for fact in draw.some([f for f in facts if f.held_out is held_out], ITEMS // 2)}
    return [fact for fact in facts if fact.uuid in chosen]


def _wrong(fact: Fact, world: World, draw: Draw, count: int) -> list[str]:
    """Objects that the predicate has for other subjects of the world."""
    others = dict.fromkeys(
        other.object
        for other in (*world.people.facts, *world.places.facts)
        if other.predicate is fact.predicate and other.object != fact.object
    )
    return draw.some(list(others), count)


def _object(fact: Fact, world: World) -> Item:
    draw = Draw("object", world.version, fact.uuid)
    prompt = fact.sentence.removesuffix(f"{fact.object}.").rstrip()
    return _item("object_prediction", fact, prompt, fact.object, _wrong(fact, world, draw, CHOICES - 1), draw)


def _relation(fact: Fact, world: World) -> Item:
    draw = Draw("relation", world.version, fact.uuid)
    alike = [p.name for p in world.people.language.person if p.kind == fact.predicate.kind]
    wrong = [name for name in alike if name != fact.predicate.name]
    prompt = f"{fact.object} is to {fact.subject} the"
    return _item("relation_reasoning", fact, prompt, fact.predicate.name, wrong, draw)


def _verification(fact: Fact, world: World, is_true: bool) -> Item:
    draw = Draw("verification", world.version, fact.uuid)
    stem = fact.sentence.removesuffix(f"{fact.object}.")
    shown = fact.object if is_true else _wrong(fact, world, draw, 1)[0]
    return {
        "task": "fact_verification",
        "uuid": fact.uuid,
        "prompt": f"{stem}{shown}. True or false?",
        "choices": ["true", "false"],
        "answer": 0 if is_true else 1,
    }


def _item(task: str, fact: Fact, prompt: str, right: str, wrong: Sequence[str], draw: Draw) -> Item:
    choices = draw.some([right, *wrong], CHOICES)
    return {
        "task": task,
        "uuid": fact.uuid,
        "prompt": prompt,
        "choices": choices,
        "answer": choices.index(right),
    }
