"""What differs between two experiments, whole: parameters, data by file, code by file, environment, results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from explicitlm.common.shown import one_line
from explicitlm.comparison.table import number
from explicitlm.records.rows import Row

_MOST_FILES = 5

Listing = Callable[[str], "dict[str, str] | None"]  # files of a data version by its hash; None where it is not here
Stat = Callable[[str, str], "list[str] | None"]  # `git diff --stat` of the code between two revisions


@dataclass(frozen=True)
class DataChange:
    """Two versions of a dataset; the lists of files are None where a version's own list is not on this machine."""

    before: str | None
    after: str | None
    added: list[str] | None = None
    removed: list[str] | None = None
    changed: list[str] | None = None


@dataclass(frozen=True)
class PairDifference:
    """All that differs; a name maps to the first's value and the second's.

    Attributes:
        code: None where the code is equal; else `git diff --stat`, empty where git lacks one of the commits.
        alike_steps: for how many steps two other versions of lm/ were shown to train alike; None where they were not.
        metrics: of both, also where they are equal.
        verdict: what came of reproducing each, None where nobody did. verdict_how: by which check.
    """

    first: str
    second: str
    parameters: dict[str, tuple[Any, Any]]
    data: dict[str, DataChange]
    code: list[str] | None
    alike_steps: int | None
    environment: dict[str, tuple[Any, Any]]
    metrics: dict[str, tuple[Any, Any]]
    status: tuple[str, str]
    verdict: tuple[str | None, str | None]
    verdict_how: tuple[str | None, str | None]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def describe(self) -> list[str]:
        """For a person, a line a fact."""
        lines = [f"{self.second} against {self.first}"]
        if self.status != ("finished", "finished"):
            lines.append(f"status: {self.second} {self.status[1]}, {self.first} {self.status[0]}")
        lines.append(_section("parameters", self.parameters))
        lines += ["data: equal"] if not self.data else [_describe_data(name, item) for name, item in self.data.items()]
        lines += self._code_lines()
        lines.append(_section("environment", self.environment))
        lines += self._result_lines()
        if any(self.verdict):
            first, second = (f"{grade.replace('_', ' ')} ({how})" if grade else "not yet"
                             for grade, how in zip(self.verdict, self.verdict_how, strict=True))  # fmt: skip
            lines.append(f"reproduced: {self.second} {second}, {self.first} {first}")
        return lines

    def _code_lines(self) -> list[str]:
        if self.code is None:
            return ["code: equal"]
        steps = self.alike_steps
        alike = "" if steps is None else f" it differs; lm/ was shown to train alike (explicitlm same, {steps} steps)"
        if not self.code:
            return [f"code:{alike or ' it differs'}; git lacks one of the commits (git fetch --tags)"]
        return [f"code:{alike}", *(f"  {one_line(line)}" for line in self.code)]

    def _result_lines(self) -> list[str]:
        lines = []
        for name, (before, after) in self.metrics.items():
            if isinstance(before, int | float) and isinstance(after, int | float):
                if before != after:
                    lines.append(f"  {name}: {number(before)} -> {number(after)} ({after - before:+.5g})")
            elif before != after:
                lines.append(f"  {name}: {_value(before)} -> {_value(after)}")
        return ["results:", *lines] if lines else ["results: equal" if self.metrics else "results: none"]


def compare(first: Row, second: Row, listing: Listing, stat: Stat, alike_steps: int | None = None) -> PairDifference:
    """Compares two experiments.

    Args:
        first, second: the experiments; what is told is how the second differs from the first.
        listing: gives the files of a data version. stat: gives what changed in the code.
        alike_steps: for how many steps the two versions of lm/ were shown to train alike.
    """
    differs = any(first.code.get(name) != second.code.get(name) for name in ("lm", "common", "script", "requirements"))
    if "lm" not in first.code or "lm" not in second.code:  # a run without a checkpoint: only its commit is known
        differs = (first.code["commit"], first.code["dirty"]) != (second.code["commit"], second.code["dirty"])
    return PairDifference(
        first.id,
        second.id,
        _differing(first.params, second.params),
        {folder: _data(first.data.get(folder), second.data.get(folder), listing)
         for folder in dict.fromkeys([*first.data, *second.data]) if first.data.get(folder) != second.data.get(folder)},
        (stat(_revision(first), _revision(second)) or []) if differs else None,
        alike_steps,
        _differing(first.environment, second.environment),
        {name: (first.metrics.get(name), second.metrics.get(name))
         for name in dict.fromkeys([*first.metrics, *second.metrics])},
        (first.head["status"], second.head["status"]),
        (first.head["verdict"], second.head["verdict"]),
        (first.head["verdict_how"], second.head["verdict_how"]),
    )  # fmt: skip


def _differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _revision(row: Row) -> str:
    """The commit that holds the code as it ran: the experiment's own, which holds uncommitted changes too."""
    return f"refs/tags/{row.head['tag']}" if row.head["tag"] else str(row.code["commit"])


def _data(before: str | None, after: str | None, listing: Listing) -> DataChange:
    old, new = (listing(md5) if md5 else {} for md5 in (before, after))
    if old is None or new is None:
        return DataChange(before, after)
    return DataChange(
        before,
        after,
        sorted(new.keys() - old.keys()),
        sorted(old.keys() - new.keys()),
        sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
    )


def _section(title: str, values: dict[str, tuple[Any, Any]]) -> str:
    if not values:
        return f"{title}: equal"
    changes = "".join(f"\n  {name}: {_value(before)} -> {_value(after)}" for name, (before, after) in values.items())
    return f"{title}:{changes}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    return number(value) if isinstance(value, float) else one_line(str(value)) or "''"


def _describe_data(name: str, change: DataChange) -> str:
    versions = f"data {name}: {(change.before or '(none)')[:8]} -> {(change.after or '(none)')[:8]}"
    if change.added is None:
        return f"{versions} (dvc fetch brings the lists of files)"
    parts = []
    for kind in ("added", "removed", "changed"):
        files: list[str] = getattr(change, kind)
        if files:
            more = f" and {len(files) - _MOST_FILES} more" if len(files) > _MOST_FILES else ""
            parts.append(f"{kind} {one_line(', '.join(files[:_MOST_FILES]))}{more}")
    return f"{versions}: {'; '.join(parts) or 'the same files'}"
