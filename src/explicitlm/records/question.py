"""A question before the training, an answer after it: what changes against a baseline, and what came of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from explicitlm.common.errors import UsageError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.observation import OBSERVATION
from explicitlm.lm.typed import dump
from explicitlm.records import store
from explicitlm.records.expressions import Expression
from explicitlm.records.manifest import Question
from explicitlm.records.schema import Outcome, Record


def check(main: Path, against: str, expect: str) -> Record | None:
    """The record of a baseline, if the question can be asked; None without a question.

    Raises:
        UsageError: there is no such baseline, or the expectation is no condition on the metrics that it has.
    """
    if not against:
        if expect:
            raise UsageError(f"expect={expect!r} says nothing without a baseline",
                             "--against ID, or against: ID in params.yaml")  # fmt: skip
        return None
    baseline = store.load(main, against)
    if expect:
        metrics = _numbers(baseline.results.metrics)
        if not metrics:
            raise UsageError(f"{against} ({baseline.status}) has no metrics to expect a difference from",
                             "a finished experiment as the baseline, or no --expect")  # fmt: skip
        Expression(expect).check_names(metrics)
    return baseline


def ask(baseline: Record, expect: str, changes: list[str]) -> Question:
    """The question, to be sealed."""
    metrics = _numbers(baseline.results.metrics)
    return Question(against=baseline.experiment.id, expect=expect, baseline=metrics, changes=changes)


def changes(baseline: Record, config: TrainConfig, data: Mapping[str, str | None], code: list[str] | None) -> list[str]:
    """What is not as in the baseline, one line a change.

    Args:
        baseline: its record. config: the parameters now. data: content hashes by folder.
        code: files that are not as in the baseline's commit; None where git does not hold that.
    """
    before, now = dump(baseline.hyperparameters), dump(config)
    lines = [f"{key}: {before[key]} -> {now[key]}" for key in now if key not in OBSERVATION and before[key] != now[key]]
    for folder, md5 in data.items():
        details = baseline.data.get(folder)
        if (details.md5 if details else None) != md5:
            lines.append(f"data/{folder}: {details.md5[:8] if details else 'none'} -> {md5[:8] if md5 else 'none'}")
    if code is None:
        lines.append("code: unknown, git lacks the baseline's commit (git fetch --tags)")
    elif code:
        more = f" and {len(code) - 3} more" if len(code) > 3 else ""
        lines.append(f"code: {', '.join(code[:3])}{more}")
    return lines + _environment(baseline)


def _environment(baseline: Record) -> list[str]:
    """Versions here that are not those of the baseline's machine."""
    from importlib.metadata import PackageNotFoundError, version  # 0.01 s, which only a question needs

    python, packages = baseline.environment["python_version"], baseline.environment.get("packages") or {}
    lines = []
    if python and python != platform.python_version():
        lines.append(f"python: {python} -> {platform.python_version()}")
    for name, before in packages.items():
        try:
            if version(name) != before:
                lines.append(f"{name}: {before} -> {version(name)}")
        except PackageNotFoundError:
            continue  # what trains elsewhere need not be installed here
    return lines


def answered(question: Question, metrics: Mapping[str, Any]) -> Outcome:
    """The outcome, from the final metrics; open without an expectation, or where a metric that it needs is missing."""
    current = _numbers(metrics)
    differences = {name: (before, current[name], current[name] - before)
                   for name, before in question.baseline.items() if name in current}  # fmt: skip
    verdict: Literal["held", "not_held", "open"] = "open"
    if question.expect:
        expectation = Expression(question.expect)
        if expectation.names <= differences.keys():
            is_met = expectation(lambda name: differences[name][2])
            verdict = "held" if is_met else "not_held"
    return Outcome(
        against=question.against,
        expect=question.expect,
        changes=question.changes,
        verdict=verdict,
        differences=differences,
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value for name, value in metrics.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def describe(outcome: Outcome) -> str:
    """An outcome in one line: what was expected, whether it held, and the numbers that it is about."""
    about = Expression(outcome.expect).names if outcome.expect else set(outcome.differences)
    numbers = [
        f"{name} {before:.5g} -> {now:.5g} ({by:+.5g})"
        for name, (before, now, by) in outcome.differences.items()
        if name in about and by
    ]
    expected = (
        f"expected {outcome.expect} against {outcome.against}: " if outcome.expect else f"against {outcome.against}: "
    )
    return f"{expected}{outcome.verdict.replace('_', ' ')}; {', '.join(numbers) or 'no difference known'}"
