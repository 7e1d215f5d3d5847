"""The index of a project: each group of seeds with its means, each experiment with its question and what came of it.

It is made when it is asked for and lies in no commit: two people who publish at once have nothing to merge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from explicitlm.common.shown import markdown as escaped
from explicitlm.comparison import seeds, statistics
from explicitlm.comparison.table import number
from explicitlm.records.rows import Row
from explicitlm.records.verdict import Verdict

_MEANS = ("val_loss", "acc_object_prediction", "acc_relation_reasoning", "acc_fact_verification", "memory_hit_rate")


def markdown(rows: Sequence[Row], verdicts: Mapping[str, Verdict]) -> str:
    """The index as Markdown, oldest group first; failed and interrupted runs in a section of their own.

    Args:
        rows: all experiments. verdicts: by id, what came of running one again.
    """
    lines = ["# Experiments 实验索引", ""]
    members: dict[object, list[Row]] = {}
    for row in rows:
        members.setdefault(seeds.group_key(row) if row.finished else None, []).append(row)
    unfinished = members.pop(None, [])
    for group in members.values():
        lines += [f"## {group[0].id}{_means(group)}", "", *_table(group, verdicts), ""]
    if unfinished:
        lines += ["## without weights 未完成", "", *_table(unfinished, verdicts), ""]
    return "\n".join(lines)


def _means(group: Sequence[Row]) -> str:
    by_seed = seeds.groups(group)[0]
    means = []
    for metric in _MEANS:
        if values := by_seed.values(metric):
            mean, spread = statistics.mean_and_spread(values)
            means.append(f"{metric} {number(mean)}" + (f" ± {number(spread)}" if len(values) > 1 else ""))
    return f": {', '.join(means)}, n={len(by_seed.by_seed)}" if means else ""


def _table(group: Sequence[Row], verdicts: Mapping[str, Verdict]) -> list[str]:
    lines = [
        "| id | seed | description | question | outcome | conclusion | run again |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in group:
        head = row.head
        question = f"{head['expect'] or ''} against {head['against']}".strip() if head["against"] else ""
        came_out = str(head["outcome"] or head["status"]).replace("_", " ")
        learnt = head["conclusion"] or head["error"] or ""
        checked = verdicts.get(row.id)
        again = f"{checked.verdict.replace('_', ' ')} ({checked.how})" if checked else ""
        cells = (head["seed"], head["description"], question, came_out, learnt, again)
        lines.append(f"| {' | '.join([f'[{row.id}]({row.id}.json)', *(escaped(str(cell)) for cell in cells)])} |")
    return lines
