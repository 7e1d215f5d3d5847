"""Experiments that differ in nothing but the seed, and what two such groups say about a change.

Groups are found, not declared: equal parameters but the seed, equal data, equal code, or code that `explicitlm same`
has seen to train alike. Training is reproducible bit for bit, so all spread within a group is the seed's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explicitlm.common.errors import UsageError
from explicitlm.comparison.statistics import Difference, judge
from explicitlm.comparison.table import number, select
from explicitlm.lm.observation import OBSERVATION
from explicitlm.records.rows import Row

_MACHINE = ("device", "gpus", "world_size", "precision", "cpu", "torch_version")


def group_key(row: Row) -> tuple[Any, ...]:
    """What two experiments of one group have in common."""
    params = tuple(sorted((name, str(value)) for name, value in row.params.items() if name not in _ignored_params()))
    data = tuple(sorted((folder, md5) for folder, md5 in row.data.items() if md5))
    return params, data, code_key(row)


def _ignored_params() -> frozenset[str]:
    return OBSERVATION | {"seed"}


def code_key(row: Row) -> str:
    """The code that decided the weights: DVC's hash of lm/, or of what trains alike; the commit where there is none."""
    return str(row.alike or row.code.get("lm") or f"{row.code['commit']}{'+' if row.code['dirty'] else ''}")


@dataclass(frozen=True)
class Group:
    """Finished experiments that differ in the seed only. name: the first one's id; by_seed: one a seed, the oldest."""

    name: str
    by_seed: dict[int, Row]

    def values(self, metric: str) -> list[float]:
        """A metric of every seed that has it."""
        values = (row.metrics.get(metric) for row in self.by_seed.values())
        return [float(value) for value in values if isinstance(value, int | float)]


def groups(rows: Sequence[Row]) -> list[Group]:
    """All groups, in the order of their oldest experiments; an experiment alone is one as well."""
    found: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        if row.finished:
            found.setdefault(group_key(row), {}).setdefault(row.head["seed"], row)
    return [Group(next(iter(members.values())).id, members) for members in found.values()]


@dataclass(frozen=True)
class Missing:
    """A run that would make one pair more. like: the experiment whose parameters, data and code it has."""

    like: str
    seed: int
    id: str


@dataclass(frozen=True)
class SeedComparison:
    """Two groups side by side.

    Attributes:
        first, second: the ids asked for. pairs: by seed, the ids.
        metrics: the judged difference (second - first) of each metric that both have.
        missing: the runs that `pairs_requested` pairs still need. notes: what a reader should know besides.
    """

    first: str
    second: str
    pairs: dict[int, tuple[str, str]]
    metrics: dict[str, Difference]
    missing: list[Missing]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def compare(rows: Sequence[Row], first: str, second: str, pairs_requested: int) -> SeedComparison:
    """Compares the groups of two experiments, paired by seed.

    Args:
        rows: all experiments. first, second: ids; differences are second - first.
        pairs_requested: pairs asked for.

    Raises:
        UsageError: an id has no record, or the two differ in nothing but the seed.
    """
    chosen = select(rows, [first, second])
    keys = [group_key(row) for row in chosen]
    if len(chosen) < 2 or keys[0] == keys[1]:
        raise UsageError(f"{first} and {second} differ in nothing but the seed: there is nothing to compare",
                         "explicitlm compare shows what differs")  # fmt: skip
    members: list[dict[int, Row]] = [{}, {}]
    for row in rows:
        key = group_key(row)
        for place in (0, 1):
            if row.finished and row.metrics and key == keys[place]:
                members[place].setdefault(row.head["seed"], row)
    seeds = sorted(set(members[0]) & set(members[1]))
    pairs = {seed: (members[0][seed], members[1][seed]) for seed in seeds}
    return SeedComparison(
        first,
        second,
        {seed: (before.id, after.id) for seed, (before, after) in pairs.items()},
        judge(_metrics(list(pairs.values()))),
        _missing(rows, chosen, members, pairs_requested),
        _notes(list(pairs.values())),
    )


def _metrics(pairs: Sequence[tuple[Row, Row]]) -> dict[str, list[tuple[float, float]]]:
    """(first, second) of every pair that has a metric on both sides."""
    found: dict[str, list[tuple[float, float]]] = {}
    for before, after in pairs:
        for name, value in before.metrics.items():
            other = after.metrics.get(name)
            if isinstance(value, int | float) and isinstance(other, int | float):
                found.setdefault(name, []).append((value, other))
    return found


def _missing(
    rows: Sequence[Row], chosen: Sequence[Row], members: Sequence[dict[int, Row]], pairs_requested: int
) -> list[Missing]:
    """Runs that complete half pairs first, then whole pairs with new seeds."""
    used = {row.id for row in rows}
    paired = set(members[0]) & set(members[1])
    seeds = sorted((set(members[0]) | set(members[1])) - paired)
    seeds += [seed for seed in range(1, 1 + pairs_requested + len(used)) if seed not in seeds and seed not in paired]
    missing = []
    for seed in seeds[: max(0, pairs_requested - len(paired))]:
        for row, group in zip(chosen, members, strict=True):
            if seed not in group:
                missing.append(Missing(row.id, seed, _free_id(f"{row.id}_seed{seed}", used)))
    return missing


def _free_id(name: str, used: set[str]) -> str:
    """The name, or with a number after it where a failed run has it already."""
    candidate, number = name, 2
    while candidate in used:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _notes(pairs: Sequence[tuple[Row, Row]]) -> list[str]:
    different = sorted({
        name for before, after in pairs for name in _MACHINE
        if before.environment.get(name) != after.environment.get(name)
    })  # fmt: skip
    return (
        [f"some pairs ran on different machines ({', '.join(different)}): their differences may hold that too"]
        if different
        else []
    )


def describe(found: SeedComparison) -> list[str]:
    """The comparison for a person."""
    pairs = f"{len(found.pairs)} pair{'' if len(found.pairs) == 1 else 's'}"
    lines = [f"{found.second} - {found.first}, {pairs} by seed{_seed_list(list(found.pairs))}"]
    equal = [name for name, item in found.metrics.items() if item.mean == 0 and item.low == item.high]
    different = {name: item for name, item in found.metrics.items() if name not in equal}
    size = max((len(name) for name in different), default=0)
    lines += [f"  {name:{size}}  {describe_verdict(item)}" for name, item in different.items()]
    if equal:
        lines.append(f"  equal in every pair: {', '.join(equal)}")
    if not found.metrics:
        lines.append("  no pair of finished experiments has a metric in common")
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"missing: {item.id} (as {item.like}, seed={item.seed})" for item in found.missing]
    return lines


def _seed_list(seeds: list[int]) -> str:
    listed = ", ".join(map(str, seeds[:10]))
    return f" ({listed}{', ...' if len(seeds) > 10 else ''})" if seeds else ""


def describe_verdict(item: Difference) -> str:
    """A judged difference in one line: mean, interval, n, and what may be said."""
    if item.mean is None:
        return "no pair"
    interval = "" if item.low is None or item.high is None else f"  [{number(item.low)}, {number(item.high)}]"
    text = {"real": "real", "too_few": "too few to say", "within_noise": "within noise"}[item.verdict]
    if item.verdict == "within_noise" and item.uncorrected:
        text += " once the number of metrics tested is counted"
    if item.needed:
        text += f", about {item.needed} pairs needed"
    return f"{item.mean:+.5g}{interval}  n={item.pairs}  {text}"
