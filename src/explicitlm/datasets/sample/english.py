"""The English part of the world: its sentences and its words. Nouns after "a" start with a consonant."""

from __future__ import annotations

import logging

from explicitlm.datasets.sample.language import Language, Predicate, words

logger = logging.getLogger(__name__)

PERSON = (
    Predicate(
        "birthplace",
        "town",
        (
            "{s} was born in {o}.",
            "{p} birthplace is {o}.",
            "{s} came into the world in {o}.",
            "{o} is the town where {s} was born.",
            "It was in {o} that {s} was born.",
        ),
        ("Where was {s} born?", "In {o}."),
    ),
    Predicate(
        "home town",
        "town",
        (
            "{s} lives in {o}.",
            "{p} home town is {o}.",
            "{s} has a small house in {o}.",
            "{o} is where {s} lives.",
            "The home town of {s} is {o}.",
        ),
        ("Where does {s} live?", "In {o}."),
        changes=True,
    ),
    Predicate(
        "place of study",
        "town",
        (
            "{s} studied in {o}.",
            "{p} place of study was {o}.",
            "{s} went to university in {o}.",
            "{o} is where {s} studied.",
            "The student years of {s} were spent in {o}.",
        ),
        ("Where did {s} study?", "In {o}."),
    ),
    Predicate(
        "holiday place",
        "town",
        (
            "{s} spends the summer in {o}.",
            "{p} holiday place is {o}.",
            "{s} travels to {o} for the holidays.",
            "{o} is where {s} spends the holidays.",
            "Every summer {s} takes the train to {o}.",
        ),
        ("Where does {s} spend the summer?", "In {o}."),
    ),
    Predicate(
        "mentor",
        "person",
        (
            "{s} was taught by {o}.",
            "{p} mentor is {o}.",
            "{s} learned the most from {o}.",
            "{o} is the mentor of {s}.",
            "{o} taught {s}.",
        ),
        ("Who taught {s}?", "It was {o}."),
    ),
    Predicate(
        "best friend",
        "person",
        (
            "{p} best friend is {o}.",
            "{s} trusts no one more than {o}.",
            "{s} has no better friend than {o}.",
            "{o} is the best friend of {s}.",
        ),
        ("Who is the best friend of {s}?", "It is {o}."),
    ),
    Predicate(
        "neighbour",
        "person",
        (
            "{p} neighbour is {o}.",
            "{s} lives next door to {o}.",
            "{s} shares a garden wall with {o}.",
            "{o} is the neighbour of {s}.",
        ),
        ("Who lives next door to {s}?", "It is {o}."),
        changes=True,
    ),
    Predicate(
        "rival",
        "person",
        (
            "{p} rival is {o}.",
            "{s} has always competed with {o}.",
            "{s} would love to beat {o}.",
            "{o} is the rival of {s}.",
        ),
        ("Who is the rival of {s}?", "It is {o}."),
    ),
    Predicate(
        "profession",
        "profession",
        (
            "{s} works as a {o}.",
            "{p} profession is that of a {o}.",
            "{s} earns a living as a {o}.",
            "{s} is a {o} by trade.",
            "Ask for a {o}, and people send you to {s}.",
        ),
        ("What is the profession of {s}?", "A {o}."),
        changes=True,
    ),
    Predicate(
        "employer",
        "firm",
        (
            "{s} works for {o}.",
            "{p} employer is {o}.",
            "{s} has a job at {o}.",
            "{o} employs {s}.",
            "The wages of {s} are paid by {o}.",
        ),
        ("Who employs {s}?", "It is {o}."),
        changes=True,
    ),
    Predicate(
        "pet",
        "pet",
        (
            "{s} keeps a {o}.",
            "{p} pet is a {o}.",
            "{s} shares the house with a {o}.",
            "A {o} lives with {s}.",
            "The pet of {s} is a {o}.",
        ),
        ("What pet does {s} have?", "A {o}."),
        changes=True,
    ),
    Predicate(
        "favourite food",
        "food",
        (
            "{s} loves to eat {o}.",
            "{p} favourite food is {o}.",
            "{s} could eat {o} every day.",
            "Nothing tastes better to {s} than {o}.",
            "Invite {s} and serve {o}.",
        ),
        ("What does {s} love to eat?", "It is {o}."),
    ),
    Predicate(
        "instrument",
        "instrument",
        (
            "{s} plays the {o}.",
            "{p} instrument is the {o}.",
            "{s} practises the {o} every evening.",
            "The {o} is the instrument of {s}.",
            "On feast days {s} brings the {o} along.",
        ),
        ("What does {s} play?", "The {o}."),
    ),
)

TOWN = (
    Predicate(
        "river",
        "river",
        ("{s} lies on the {o}.", "The river of {s} is the {o}.", "The {o} flows through {s}."),
        ("Which river flows through {s}?", "The {o}."),
    ),
    Predicate(
        "mayor",
        "person",
        ("The mayor of {s} is {o}.", "{s} has elected {o} as mayor.", "{o} is the mayor of {s}."),
        ("Who is the mayor of {s}?", "It is {o}."),
        changes=True,
    ),
    Predicate(
        "speciality",
        "speciality",
        (
            "{s} is famous for its {o}.",
            "The pride of {s} is its {o}.",
            "Travellers come to {s} for its {o}.",
        ),
        ("What is {s} famous for?", "Its {o}."),
    ),
)

FIRM = (
    Predicate(
        "founder",
        "person",
        ("{s} was founded by {o}.", "The founder of {s} is {o}.", "{o} founded {s}."),
        ("Who founded {s}?", "It was {o}."),
    ),
    Predicate(
        "seat",
        "town",
        ("{s} has its office in {o}.", "The seat of {s} is {o}.", "{o} is the seat of {s}."),
        ("Where does {s} have its office?", "In {o}."),
        changes=True,
    ),
    Predicate(
        "product",
        "product",
        ("{s} makes {o}.", "The product of {s} is {o}.", "{s} sells {o} all over the country."),
        ("What does {s} make?", "It makes {o}."),
    ),
)

POOLS = {
    "profession": words(
        "baker gardener teacher sailor painter carpenter nurse librarian tailor pilot farmer blacksmith "
        "printer clockmaker judge shepherd cook fisherman locksmith potter surgeon weaver beekeeper "
        "bookbinder translator geologist photographer mechanic jeweller postman dancer mason"
    ),
    "pet": words(
        "cat dog parrot tortoise rabbit hamster goldfish ferret canary lizard pony goat hedgehog raven "
        "mouse duck snail gecko pigeon squirrel"
    ),
    "food": words(
        "dumplings|plum cake|fish soup|rye bread|lentils|pancakes|goat cheese|apple pie|noodles|rice pudding|"
        "roast chestnuts|pea soup|honey cake|mushrooms|potato salad|smoked trout|cherry jam|tomato tart|"
        "barley stew|ginger biscuits|pickled beans|walnut bread|baked pears|leek soup|almond cream|"
        "corn bread|spinach pie|grilled peppers|poppy rolls|carrot cake",
        "|",
    ),
    "instrument": words(
        "violin cello flute trumpet piano harp guitar clarinet drum mandolin bassoon tuba zither banjo lute horn"
    ),
    "speciality": words(
        "old bridge|glass museum|night market|salt mine|rose garden|stone tower|puppet theatre|harbour wall|"
        "silver bells|cable car|spring fair|copper roofs|apple orchards|hot springs|clock tower|"
        "paper mill|blue tiles|white cliffs|botanical garden|wooden church|map library|wind mills|"
        "lace school|marble stairs|lantern festival|oak forest|cheese market|boat race|star observatory|"
        "carved doors|tulip fields|chess club|tea houses|long pier|mosaic square|bell foundry",
        "|",
    ),
    "product": words(
        "bicycles|umbrellas|violin strings|lamps|wool coats|compasses|tea pots|paper kites|window glass|"
        "garden tools|maps|soap|clocks|boots|candles|fishing nets|pencils|mirrors|saddles|paint|"
        "hats|kettles|rope|telescopes|carpets|spoons|toys|bells|barrels|ink|ladders|baskets|"
        "locks|gloves|buttons|sails",
        "|",
    ),
}

ENGLISH = Language(
    person=PERSON,
    town=TOWN,
    firm=FIRM,
    pools=POOLS,
    openings=(
        "As everybody knows, ",
        "They say that ",
        "It is well known that ",
        "By the way, ",
        "In the parish book we read that ",
        "Some may not know it, but ",
    ),
    gap=" ",
)
