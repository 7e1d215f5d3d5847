"""What a report says, before it is a page: experiments, groups, comparisons, pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from explicitlm.common.errors import ExplicitLMError
from explicitlm.comparison import facts, seeds, statistics, table
from explicitlm.comparison.facts import FactComparison
from explicitlm.comparison.seeds import Group
from explicitlm.lm.observation import OBSERVATION
from explicitlm.records.rows import Row
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Verdict
from explicitlm.report import pictures
from explicitlm.report.curves import Points
from explicitlm.report.pictures import Mark

LEADING = ("val_loss", "acc_object_prediction", "acc_relation_reasoning", "acc_fact_verification")
MOST_GROUPS = 30
MOST_PARAMETERS = 6
MOST_FACTS = 50  # comparisons that name their items
SHOWN_URL = re.compile(r"https?://[^\s\"'<>]+")


@dataclass(frozen=True)
class Detail:
    """One experiment's own part of the page.

    record: whole; changed: parameters unlike most others'; verdict: what came of running it again.
    """

    row: Row
    record: Record
    changed: dict[str, Any]
    url: str | None
    verdict: Verdict | None


@dataclass(frozen=True)
class Compared:
    """A group against its baseline's.

    Attributes:
        first, second: the baseline, and the experiment that named it. lines: their groups compared by seed.
        facts: what the second learnt and lost. without: why there are no facts; "" where there are.
    """

    first: str
    second: str
    lines: list[str]
    facts: FactComparison | None
    without: str


Answers = Callable[[Row], Any]  # what an experiment's model answered; None where that is not on this machine


class Content:
    """Everything of a report.

    Args:
        rows: the experiments shown. everything: all of the project, among which their baselines are.
        curves: by curve and id, as `curves.read` gives them.
        records: the whole record of each of `rows`, by id.
        verdicts: what came of running some of them again, by id.
        answers: gives what an experiment's model answered to the task items.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        everything: Sequence[Row],
        curves: dict[str, dict[str, Points]],
        records: dict[str, Record],
        verdicts: Mapping[str, Verdict],
        answers: Answers,
    ) -> None:
        self._answers = lru_cache(maxsize=8)(answers)  # one baseline for many
        self.rows, self._everything, self._curves, self._records = rows, everything, curves, records
        self._verdicts = verdicts
        self.groups = seeds.groups(rows)
        self._kinds = {row.id: place for place, group in enumerate(self.groups) for row in group.by_seed.values()}
        known = {id(row) for group in self.groups for row in group.by_seed.values()}
        keys = {seeds.group_key(next(iter(group.by_seed.values()))): place for place, group in enumerate(self.groups)}
        for row in rows:  # a second run of one seed
            if row.finished and id(row) not in known:
                self._kinds[row.id] = keys[seeds.group_key(row)]
        self.parameters = [name for name in table.differing(rows, "params") if name not in OBSERVATION]
        self.names = [self._name(group) for group in self.groups]
        self.metrics = self._metrics()

    @property
    def table(self) -> table.Table:
        """All experiments, and the columns that tell them apart."""
        columns = table.distinguishing_columns(self.rows)
        columns[1:1] = [name for name in ("status",) if name not in columns]
        return table.make(self.rows, [*columns, "description"])

    def _metrics(self) -> list[str]:
        """Metrics worth a picture: the leading ones first."""
        found = {name for row in self.rows for name, value in row.metrics.items() if isinstance(value, int | float)}
        return [name for name in LEADING if name in found] or sorted(found)[:1]

    def _name(self, group: Group) -> str:
        """Its first experiment, and the parameters that are not as in the first group."""
        first, row = (next(iter(each.by_seed.values())) for each in (self.groups[0], group))
        settings = [f"{name}={row.params.get(name)}" for name in self.parameters
                if name != "seed" and row.params.get(name) != first.params.get(name)]  # fmt: skip
        return f"{group.name}: {', '.join(settings)}" if settings else group.name

    def pictures(self) -> dict[str, str]:
        """SVG by name, those for which there is something to show."""
        found = {}
        for key, series in self._curves.items():
            chosen = {name: points for name, points in series.items() if name in self._kinds}
            if chosen:
                title = f"{key} by step"
                found[f"curve-{key.replace('/', '-')}"] = pictures.curves(title, key, chosen, self._kinds, self.names)
        for metric in self.metrics[:1]:
            found |= self._bars(metric)
        for metric in self.metrics:
            found |= self._spreads(metric)
        for name in [name for name in self.parameters if name != "seed"][:MOST_PARAMETERS]:
            found |= self._scatter(name)
        if 0 < len(self.groups) <= pictures.MOST_LINEAGE:
            found["lineage"] = self._lineage()
        return found

    def _numbers(self, metric: str) -> list[tuple[Row, float]]:
        pairs = ((row, row.metrics.get(metric)) for row in self.rows if row.id in self._kinds)
        return [(row, float(value)) for row, value in pairs if isinstance(value, int | float)]

    def _bars(self, metric: str) -> dict[str, str]:
        values = sorted(((row.id, value) for row, value in self._numbers(metric)), key=lambda item: item[1])
        return {f"bars-{metric}": pictures.bars(f"{metric} of each experiment", metric, values)} if values else {}

    def _scatter(self, name: str) -> dict[str, str]:
        metric = self.metrics[0] if self.metrics else ""
        marks = [Mark(row.id, self._kinds[row.id], row.params[name], value) for row, value in self._numbers(metric)
                 if row.params.get(name) is not None]  # fmt: skip
        if not marks:
            return {}
        return {f"scatter-{name}": pictures.scatter(f"{metric} against {name}", (name, metric), marks, self.names)}

    def _spreads(self, metric: str) -> dict[str, str]:
        shown = []
        for group, name in zip(self.groups, self.names, strict=True):
            if values := group.values(metric):
                shown.append((name, values, statistics.t_interval(values) if len(values) > 1 else None))
        if not any(len(values) > 1 for _, values, _ in shown):
            return {}
        title = f"{metric} of each group: every seed, mean, 95 % interval"
        return {f"groups-{metric}": pictures.spreads(title, metric, shown[:MOST_GROUPS])}

    def _lineage(self) -> str:
        columns: list[tuple[str, list[tuple[str, str]]]] = [("data and code", []), ("experiments", []), ("weights", [])]
        edges = []
        for place, group in enumerate(self.groups):
            row = next(iter(group.by_seed.values()))
            sources = [(f"data/{folder}", str(md5)) for folder, md5 in row.data.items() if md5]
            for source in [*sources, ("lm/", seeds.code_key(row))]:
                key = "@".join(source)
                if all(key != known for known, _ in columns[0][1]):
                    columns[0][1].append((key, f"{source[0]} {source[1][:8]}"))
                edges.append((key, f"group{place}"))
            count = len(group.by_seed)
            columns[1][1].append((f"group{place}", f"{group.name}{f' and {count - 1} more' if count > 1 else ''}"))
            columns[2][1].append((f"weights{place}", ", ".join(str(one.head["checkpoint"] or "none")[:6]
                                                              for one in group.by_seed.values())))  # fmt: skip
            edges.append((f"group{place}", f"weights{place}"))
        return pictures.lineage("from data and code to weights", columns, edges)

    def group_table(self) -> list[dict[str, Any]]:
        """Each group with the mean and spread of the leading metrics."""
        found = []
        for group, name in zip(self.groups, self.names, strict=True):
            values = {metric: group.values(metric) for metric in self.metrics}
            summary = {metric: statistics.mean_and_spread(numbers) for metric, numbers in values.items() if numbers}
            found.append({"name": name, "size": len(group.by_seed), "metrics": summary})
        return found

    def comparisons(self) -> list[Compared]:
        """Each group whose experiments named a baseline, compared with the baseline's group."""
        by_id = {row.id: row for row in self._everything}
        found: list[Compared] = []
        for group in self.groups:
            named = [row for row in group.by_seed.values() if row.head["against"] in by_id]
            if not named:
                continue
            baseline = by_id[named[0].head["against"]]
            if seeds.group_key(baseline) != seeds.group_key(named[0]):
                compared = seeds.compare(self._everything, baseline.id, named[0].id, 1)
                details = (
                    self._facts(baseline, named[0]) if len(found) < MOST_FACTS else (None, "too many to list here")
                )
                found.append(Compared(baseline.id, named[0].id, seeds.describe(compared), *details))
        return found

    def _facts(self, baseline: Row, row: Row) -> tuple[FactComparison | None, str]:
        try:
            before, after = self._answers(baseline), self._answers(row)
            if before is None or after is None:
                return None, "the answers are not on this machine"
            return facts.compare(baseline.id, row.id, before, after), ""
        except ExplicitLMError as error:
            return None, error.cause

    def details(self) -> list[Detail]:
        """Each experiment's own part, in the order of the table."""
        usual = {name: _most_common([row.params.get(name) for row in self.rows]) for name in self.parameters}
        found = []
        for row in self.rows:
            url = row.head["url"]
            changed = {name: row.params.get(name) for name in self.parameters if row.params.get(name) != usual[name]}
            shown_url = url if isinstance(url, str) and SHOWN_URL.fullmatch(url) else None
            found.append(Detail(row, self._records[row.id], changed, shown_url, self._verdicts.get(row.id)))
        return found


def _most_common(values: list[Any]) -> Any:
    return max(values, key=values.count) if len(values) <= 200 else values[0]
