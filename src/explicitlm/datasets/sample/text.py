"""Documents about the world: lives, pages on towns and firms, questions. They say seen facts only."""

from __future__ import annotations

from collections.abc import Iterable

from explicitlm.datasets.sample.draw import Draw
from explicitlm.datasets.sample.language import Language
from explicitlm.datasets.sample.names import Person
from explicitlm.datasets.sample.world import Fact, Part, World, possessive

LIVES = range(10)  # documents for each person
PAGES = range(16)  # documents for each town and firm
QUESTIONS = range(3)  # documents for each person
HELD_OUT = range(1000, 1001)  # one more round, which training never sees
VALIDATION_DOCUMENTS = 360
OPENING_SHARE = 0.12


def training_text(world: World) -> dict[str, list[str]]:
    """The training documents by file name."""
    return {
        "people": _lives(world.people, LIVES),
        "places": _pages(world, PAGES),
        "questions": _questions(world.people, QUESTIONS),
        "chinese": _lives(world.chinese, LIVES),
    }


def validation_text(world: World, training: dict[str, list[str]]) -> list[str]:
    """Other documents about the same seen facts, about 80 KB; none is in the training text."""
    known = {text for texts in training.values() for text in texts}
    everything = (
        *_lives(world.people, HELD_OUT),
        *_pages(world, HELD_OUT),
        *_questions(world.people, HELD_OUT),
        *_lives(world.chinese, HELD_OUT),
    )
    fresh = [text for text in everything if text not in known]
    return Draw("validation", world.version).some(fresh, VALIDATION_DOCUMENTS)


def _lives(part: Part, rounds: Iterable[int]) -> list[str]:
    """Short lives: 60 % of what may be said of a person, in random order."""
    facts_by_subject = _seen_facts(part.facts)
    documents = []
    for number in rounds:
        for subject, facts in facts_by_subject.items():
            draw = Draw("life", subject, number)
            chosen = draw.some(facts, 1 + len(facts) * 3 // 5)
            person = part.people[subject]
            sentences = [_statement(chosen[0], part.language, draw)]
            sentences += [_statement(fact, part.language, draw, person) for fact in chosen[1:]]
            documents.append(part.language.gap.join(sentences))
    return documents


def _pages(world: World, rounds: Iterable[int]) -> list[str]:
    """Pages on towns and firms: what they are, and which people are tied to them."""
    part = world.places
    facts_by_subject = _seen_facts(part.facts)
    ties: dict[str, list[Fact]] = {}
    for fact in world.people.facts:
        if not fact.held_out:
            ties.setdefault(fact.object, []).append(fact)
    documents = []
    for number in rounds:
        for subject in part.subjects:
            draw = Draw("page", subject, number)
            chosen = draw.some(facts_by_subject.get(subject, []), 2) + draw.some(ties.get(subject, []), 6)
            documents.append(part.language.gap.join(_statement(fact, part.language, draw) for fact in chosen))
    return [document for document in documents if document]


def _questions(part: Part, rounds: Iterable[int]) -> list[str]:
    """Questions about a person with their answers, a line each."""
    documents = []
    for number in rounds:
        for subject, facts in _seen_facts(part.facts).items():
            asked = Draw("questions", subject, number).some(facts, 3)
            lines = [
                f"{fact.predicate.asks[0].format(s=subject)} {fact.predicate.asks[1].format(o=fact.object)}"
                for fact in asked
            ]
            documents.append("\n".join(lines))
    return documents


def _seen_facts(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The seen facts by subject."""
    by_subject: dict[str, list[Fact]] = {}
    for fact in facts:
        if not fact.held_out:
            by_subject.setdefault(fact.subject, []).append(fact)
    return by_subject


def _statement(fact: Fact, language: Language, draw: Draw, person: Person | None = None) -> str:
    """Says a fact in one of its ways.

    Args:
        person: the subject, when the text has named it already: a shorter form may stand for it.
    """
    template = draw.pick(fact.predicate.says)
    form = draw.below(3) if person else 0
    opens = draw.chance(OPENING_SHARE) and template.startswith("{")
    if person and form == 2 and template.startswith(("{s}", "{p}")):
        return template.format(s=person.pronouns[0], p=person.pronouns[1], o=fact.object)
    name = person.short if person and form == 1 else fact.subject
    sentence = template.format(s=name, p=possessive(name, fact.predicate), o=fact.object)
    return draw.pick(language.openings) + sentence if opens else sentence
