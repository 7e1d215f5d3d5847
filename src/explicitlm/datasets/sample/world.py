"""The world: who and what there is, and every fact about them, in an earlier and a later state."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from explicitlm.datasets.sample import names
from explicitlm.datasets.sample.chinese import CHINESE
from explicitlm.datasets.sample.draw import Draw
from explicitlm.datasets.sample.english import ENGLISH
from explicitlm.datasets.sample.language import Language, Predicate

VERSIONS = (1, 2)
# People, firms and Chinese people by version; the later world only has more of them.
SIZES = {1: (190, 30, 16), 2: (260, 34, 22)}
TOWNS = 36
HELD_OUT_SHARE = 0.3
CHANGED_SHARE = 0.12  # of the facts that may change, from version 1 to version 2
NAMESPACE = uuid.UUID("6c0f1f6e-5a0b-5d5e-9d0e-0a51ec51f00d")


@dataclass(frozen=True)
class Fact:
    """One statement about the world.

    Attributes:
        held_out: whether it stands in the knowledge base only and no training text says it.
    """

    subject: str
    predicate: Predicate
    object: str
    held_out: bool

    @property
    def uuid(self) -> str:
        """The same for the same statement in every version; a changed fact gets another."""
        return str(uuid.uuid5(NAMESPACE, f"{self.subject}|{self.predicate.name}|{self.object}"))

    @property
    def sentence(self) -> str:
        """The sentence that the knowledge base says it with."""
        return self.predicate.says[0].format(s=self.subject, p=possessive(self.subject, self.predicate), o=self.object)


@dataclass(frozen=True)
class Part:
    """The facts of one language about one sort of subject.

    Attributes:
        people: by full name, when the subjects are people; else empty.
    """

    language: Language
    subjects: tuple[str, ...]
    people: dict[str, names.Person]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class World:
    """Everything there is in one version."""

    version: int
    people: Part
    places: Part
    chinese: Part

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts, in the order of the knowledge base."""
        return self.people.facts + self.places.facts + self.chinese.facts


def possessive(name: str, predicate: Predicate) -> str:
    """The possessive of a name, in the language of the predicate."""
    return f"{name}的" if predicate.says[0].endswith("。") else f"{name}'s"


def build(version: int) -> World:
    """The state of the world in a version of VERSIONS."""
    n_people, n_firms, n_chinese = SIZES[version]
    people, firms, towns = names.english_people(n_people), names.firms(n_firms), names.towns(TOWNS)
    pools = {**ENGLISH.pools, "town": tuple(towns), "firm": tuple(firms), "river": tuple(names.rivers(TOWNS))}
    settled = [person.full for person in names.english_people(SIZES[1][0])]
    pools["person"] = tuple(settled)  # so that no older fact depends on how many people came later
    pools["firm"] = pools["firm"][: SIZES[1][1]]
    chinese = names.chinese_people(n_chinese)
    chinese_pools = {**CHINESE.pools, "person": tuple(p.full for p in names.chinese_people(SIZES[1][2]))}
    town_facts = _facts(version, towns, ENGLISH.town, pools)
    firm_facts = _facts(version, firms, ENGLISH.firm, pools)
    return World(
        version,
        _people_part(version, ENGLISH, people, pools),
        Part(ENGLISH, (*towns, *firms), {}, (*town_facts, *firm_facts)),
        _people_part(version, CHINESE, chinese, chinese_pools),
    )


def _people_part(
    version: int, language: Language, people: Sequence[names.Person], pools: dict[str, tuple[str, ...]]
) -> Part:
    subjects = [person.full for person in people]
    facts = _facts(version, subjects, language.person, pools)
    return Part(language, tuple(subjects), {person.full: person for person in people}, facts)


def _facts(
    version: int,
    subjects: Sequence[str],
    predicates: Sequence[Predicate],
    pools: dict[str, tuple[str, ...]],
) -> tuple[Fact, ...]:
    facts = []
    for subject in subjects:
        used = {subject}  # an object is named once a subject, so that a pair of names has one relation
        for predicate in predicates:
            draw = Draw("fact", subject, predicate.name)
            held_out = draw.chance(HELD_OUT_SHARE)
            changed = draw.chance(CHANGED_SHARE) and predicate.changes
            free = [item for item in pools[predicate.kind] if item not in used]
            before, after = draw.some(free, 2)
            used |= {before, after}
            facts.append(Fact(subject, predicate, after if changed and version > 1 else before, held_out))
    return tuple(facts)
