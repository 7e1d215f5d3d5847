"""Invented names, put together from syllables: pleasant, pronounceable, and of nobody who lives.

First names and surnames are shared by several people, so that only both together tell who is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from explicitlm.datasets.sample import chinese
from explicitlm.datasets.sample.draw import Draw
from explicitlm.datasets.sample.language import words

FEMALE_ENDS = ("ra", "lia", "na", "sella", "rin", "meth")
MALE_ENDS = ("vin", "dan", "mo", "ric", "tas", "lo")
FIRST_STARTS = words("Ma Li So Ta Ne Ro Vi El Ka Jo Bel Cor Da Fe Lu Mi Ori Sa Ye Ilo")
LAST_STARTS = words("Tas Bren Hol Mar Vel Kor Lind Ash Oster Pelm Quin Ros Sten Tor Wald Fen Gal Har")
LAST_ENDS = words("ovan wick ley berg mere enko strom dale ison by aro etti")
TOWN_STARTS = words("Karv Belm Nord Silv Tamm Vard Ostr Lun Merl Dorn Falk Gren Hall Rav Zell")
TOWN_ENDS = words("osk outh haven ville burg ina stad field ona port era holm")
RIVER_STARTS = words("Ta Bo Ne Wi Ira Ald Ur Sev Cal Dri Em Lo")
RIVER_ENDS = words("mis rava sel dra lona sta")
FIRM_COLOURS = words("Blue Silver North Golden Green Red Bright Iron")
FIRM_THINGS = words("Heron Lantern Anchor Maple Comet Harbour Wheel Fox")


@dataclass(frozen=True)
class Person:
    """Someone in the world.

    Attributes:
        full: the name that facts use.
        short: the name that a text may use once the person is known.
        pronouns: at the start of a sentence: subject and possessive.
    """

    full: str
    short: str
    pronouns: tuple[str, str]


def english_people(count: int) -> list[Person]:
    """The first `count` people; a larger count only adds people at the end."""
    female = Draw("first names", "female").some([a + b for a in FIRST_STARTS for b in FEMALE_ENDS], 40)
    male = Draw("first names", "male").some([a + b for a in FIRST_STARTS for b in MALE_ENDS], 40)
    surnames = Draw("surnames").some([a + b for a in LAST_STARTS for b in LAST_ENDS], 64)
    draw = Draw("people")
    people: list[Person] = []
    taken: set[str] = set()
    while len(people) < count:
        is_female = draw.chance(0.5)
        first = draw.pick(female if is_female else male)
        full = f"{first} {draw.pick(surnames)}"
        if full not in taken:
            taken.add(full)
            people.append(Person(full, first, ("She", "Her") if is_female else ("He", "His")))
    return people


def chinese_people(count: int) -> list[Person]:
    """The first `count` people with Chinese names."""
    every = [a + b for a in chinese.SURNAMES for b in chinese.GIVEN]
    draw = Draw("people", "zh")
    return [
        Person(name, name, ("她", "她的") if draw.chance(0.5) else ("他", "他的"))
        for name in Draw("names", "zh").some(every, len(every))[:count]
    ]


def towns(count: int) -> list[str]:
    """Names of towns."""
    return Draw("towns").some([a + b for a in TOWN_STARTS for b in TOWN_ENDS], count)


def rivers(count: int) -> list[str]:
    """Names of rivers."""
    return Draw("rivers").some([a + b for a in RIVER_STARTS for b in RIVER_ENDS], count)


def firms(count: int) -> list[str]:
    """Names of firms; a larger count only adds firms at the end."""
    return Draw("firms").some([f"{a} {b}" for a in FIRM_COLOURS for b in FIRM_THINGS], count)
