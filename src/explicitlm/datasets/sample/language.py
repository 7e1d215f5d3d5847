"""What a language adds to the world: predicates with their sentences, and pools of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Predicate:
    """One kind of fact: a subject has exactly one object of it.

    In the templates {s} is the subject, {p} its possessive form and {o} the object.

    Attributes:
        name: the relation in words, also the answer of the relation task.
        kind: what the object is; predicates of one kind are told apart by knowing the fact only.
        says: statements; the first is the knowledge base's and ends in "{o}" plus a full stop.
        asks: a question and its short answer.
        changes: whether a later state of the world may have another object.
    """

    name: str
    kind: str
    says: tuple[str, ...]
    asks: tuple[str, str]
    changes: bool = False


@dataclass(frozen=True)
class Language:
    """A vocabulary for one part of the world.

    Attributes:
        pools: objects by kind, for the kinds that are words and not people, towns or firms.
        openings: phrases that may stand before a statement.
        gap: what stands between two sentences.
    """

    person: tuple[Predicate, ...]
    town: tuple[Predicate, ...]
    firm: tuple[Predicate, ...]
    pools: Mapping[str, tuple[str, ...]]
    openings: tuple[str, ...]
    gap: str


def words(text: str, separator: str = " ") -> tuple[str, ...]:
    """A pool from one string."""
    return tuple(text.split(separator))
