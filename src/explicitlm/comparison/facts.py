"""What one model learnt and lost against another, item by item: by text, with McNemar's test for each task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from explicitlm.common.errors import UsageError
from explicitlm.common.shown import printable
from explicitlm.comparison.statistics import Verdict, holm, mcnemar
from explicitlm.comparison.table import number
from explicitlm.lm.data.answers import Answer

LEAST_CHANGES = 6  # with fewer even changes that all go one way have a p above 0.05
_SHOWN = 20  # items of a list that a person sees


@dataclass(frozen=True)
class Change:
    """An item that one model answers rightly and the other does not.

    Attributes:
        task, prompt: the item. right: the right choice; wrong: what the model that errs chose.
        hit_before, hit_after: whether each read the fact's row; None where there is no such row.
    """

    task: str
    prompt: str
    right: str
    wrong: str
    hit_before: bool | None
    hit_after: bool | None


@dataclass(frozen=True)
class TaskChange:
    """All items of a task that both models were asked.

    Attributes:
        items: how many. right_before, right_after: of these.
        learnt: wrong before, right after. lost: right before, wrong after.
        p: two-sided, of McNemar's exact test. verdict: what may be said of the two models, all tasks together.
    """

    items: int
    right_before: int
    right_after: int
    learnt: int
    lost: int
    p: float
    verdict: Verdict


@dataclass(frozen=True)
class FactComparison:
    """Two models side by side. unpaired: items that only the first and that only the second was asked."""

    first: str
    second: str
    tasks: dict[str, TaskChange]
    learnt: list[Change]
    lost: list[Change]
    unpaired: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def describe(self) -> list[str]:
        """For a person: a line a task, then the items."""
        lines = self.summary()
        for title, changes in (("learnt", self.learnt), ("lost", self.lost)):
            lines.append(f"{title}: {len(changes) or 'nothing'}")
            lines += [f"  {describe_change(change)}" for change in changes[:_SHOWN]]
            if len(changes) > _SHOWN:
                lines.append(f"  and {len(changes) - _SHOWN} more (--json has all)")
        return [*lines, "note: this is about these two trainings; another seed may learn other facts (--seeds)"]

    def summary(self) -> list[str]:
        """A line a task."""
        lines = [f"{self.second} against {self.first}, item by item"]
        lines += [f"  {name}: {_describe_task(task)}" for name, task in self.tasks.items()]
        if any(self.unpaired):
            lines.append(f"note: {self.unpaired[0]} items were asked of {self.first} only, "
                         f"{self.unpaired[1]} of {self.second} only")  # fmt: skip
        return lines


def compare(first: str, second: str, before: Sequence[Answer], after: Sequence[Answer]) -> FactComparison:
    """Compares what two models answered.

    Args:
        first, second: their ids. before, after: their answers; equal items are paired, wherever they stand.

    Raises:
        UsageError: no item was asked of both.
    """
    old, new = dict(_keyed(before)), dict(_keyed(after))
    pairs = [(old[key], new[key]) for key in new if key in old]
    if not pairs:
        raise UsageError(f"no task item was asked of both {first} and {second}",
                         f"explicitlm compare {first} {second} shows whose data/benchmarks are others")  # fmt: skip
    by_task: dict[str, list[tuple[Answer, Answer]]] = {}
    for pair in pairs:
        by_task.setdefault(pair[0].task, []).append(pair)
    p_values = {task: mcnemar(*_counts(items)) for task, items in by_task.items()}
    real = holm({task: p for task, p in p_values.items() if sum(_counts(by_task[task])) >= LEAST_CHANGES})
    return FactComparison(
        first,
        second,
        {task: _task(items, p_values[task], task in real) for task, items in by_task.items()},
        [_change(one, other) for one, other in pairs if other.right and not one.right],
        [_change(one, other) for one, other in pairs if one.right and not other.right],
        (len(old) - len(pairs), len(new) - len(pairs)),
    )


def count_unequal(before: Sequence[Answer], after: Sequence[Answer]) -> int:
    """In how many places two lists of answers differ, of one model that was asked twice.

    A score that is added up in another order, and so differs in its last digits only, is no other answer.
    """
    pairs = zip_longest(before, after)
    return sum(one is None or other is None or not _is_equal(one, other) for one, other in pairs)


def _is_equal(one: Answer, other: Answer) -> bool:
    if replace(one, scores=[]) != replace(other, scores=[]) or len(one.scores) != len(other.scores):
        return False
    return all(
        before == after
        or (before is not None and after is not None and math.isclose(before, after, rel_tol=1e-6, abs_tol=1e-9))
        for before, after in zip(one.scores, other.scores, strict=True)
    )


def _keyed(answers: Sequence[Answer]) -> Iterator[tuple[tuple[Any, ...], Answer]]:
    """Each answer by its item's texts; an item that stands there twice counts twice."""
    seen: Counter[tuple[Any, ...]] = Counter()
    for answer in answers:
        key = (answer.task, answer.prompt, tuple(answer.choices), answer.answer)
        seen[key] += 1
        yield (*key, seen[key]), answer


def _counts(items: Sequence[tuple[Answer, Answer]]) -> tuple[int, int]:
    learnt = sum(after.right and not before.right for before, after in items)
    return learnt, sum(before.right and not after.right for before, after in items)


def _task(items: Sequence[tuple[Answer, Answer]], p: float, real: bool) -> TaskChange:
    learnt, lost = _counts(items)
    verdict: Verdict = "real" if real else "within_noise" if learnt + lost >= LEAST_CHANGES else "too_few"
    before, after = (sum(pair[place].right for pair in items) for place in (0, 1))
    return TaskChange(len(items), before, after, learnt, lost, p, verdict)


def _change(before: Answer, after: Answer) -> Change:
    wrong = before if after.right else after
    right, chosen = wrong.choices[wrong.answer], wrong.choices[wrong.choice]
    return Change(before.task, before.prompt, right, chosen, before.hit, after.hit)


def _describe_task(task: TaskChange) -> str:
    verdict = {"real": "real", "too_few": "too few to say", "within_noise": "within noise"}[task.verdict]
    shares = f"{number(task.right_before / task.items)} -> {number(task.right_after / task.items)}"
    return f"{shares} of {task.items} items, {task.learnt} learnt, {task.lost} lost: {verdict} (McNemar p {task.p:.2g})"


def describe_change(change: Change) -> str:
    """One item in a line: `object_prediction: Ada lives in | Oslo (not: Rome); its row is read now`."""
    read = {(False, True): "; its row is read now", (True, False): "; its row is no longer read"}
    more = read.get((bool(change.hit_before), bool(change.hit_after)), "")
    return printable(f"{change.task}: {change.prompt} | {change.right} (not: {change.wrong}){more}")
