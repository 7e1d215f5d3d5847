"""What came of running an experiment again: kept beside its record, never in it.

Each check is a file of its own under experiments/verdicts/<id>/, so that two people who verify the same experiment
never conflict in git. Nothing is written over; of several checks the strongest, then the newest counts.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import field

from explicitlm.common import layout
from explicitlm.common.files import to_json, write_json
from explicitlm.common.ids import is_id
from explicitlm.common.shown import printable
from explicitlm.lm.typed import Checked, checked, decode, dump
from explicitlm.records.problem import Problem

Grade = Literal["identical", "same_curve", "within_tolerance", "different", "not_reproducible"]
Cause = Literal[
    "code", "parameters", "data", "weights", "packages", "hardware", "world size", "precision", "threads", "metrics",
    "answers",
]  # fmt: skip
ORDER: tuple[Literal["restored", "head", "retrained"], ...] = ("restored", "head", "retrained")
_LONGEST_VALUE = 60  # of a difference, in words; a verdict may come from anyone
_LONGEST_CAUSE = 200


class Difference(Checked, frozen=True):
    """One thing that was otherwise than in the record. what: such as `torch`; was, now: its two values."""

    cause: Cause
    what: str
    was: Any
    now: Any

    def words(self) -> str:
        """`torch 2.13.0 -> 2.14.0`."""
        return printable(f"{_cut(self.what)} {_cut(self.was)} -> {_cut(self.now)}").replace("\n", " ")


class Verdict(Checked, frozen=True, kw_only=True):
    """The outcome of one check.

    Attributes:
        experiment: its id. checked_at: UTC. duration_s: of the whole check.
        how: restored (code, data and weights brought back and their hashes checked), head (trained for some steps),
            retrained (trained to the end).
        verdict: the grade. causes: kinds of what was otherwise than in the record; of an identical result none had an
            effect. differences: the same in detail.
        steps: optimizer steps compared; None where nothing was trained.
        last_equal_step: the last link of the digest chain that both runs share.
        first_divergent_step: the first link that differs; None where none does.
        part: the part of the state that parted first. parts: all that differ at that link.
        reason: why there is nothing to compare, for not_reproducible.
        checkpoint_hash: of the weights that came out; None without any.
        metrics: final metrics that came out. environment: where it ran.
    """

    schema_version: Literal[1] = 1
    experiment: str
    checked_at: str
    duration_s: float
    how: Literal["restored", "head", "retrained"]
    verdict: Grade
    causes: list[Cause] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    steps: int | None = None
    last_equal_step: int | None = None
    first_divergent_step: int | None = None
    part: str | None = None
    parts: list[str] = field(default_factory=list)
    reason: str | None = None
    checkpoint_hash: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What a person reads."""
        return [f"{self.experiment}: {self.verdict} ({self.how})", *(f"  {line}" for line in self.findings())]

    def findings(self) -> list[str]:
        """Why it is so, one line each: what cannot be compared, where the runs part, what was otherwise."""
        lines = [printable(self.reason)] if self.reason else []
        if self.first_divergent_step is not None:
            lines.append(printable(f"parts at step {self.first_divergent_step}, in {', '.join(self.parts)}"))
        return lines + [f"{each.cause}: {each.words()}" for each in self.differences]


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


@dataclass(frozen=True)
class Verdicts:
    """by_experiment: the verdict that counts: the strongest check, of equal ones the newest.

    problems: one a file that is no verdict; the others count all the same.
    """

    by_experiment: dict[str, Verdict]
    problems: list[Problem]

    def summary(self) -> str:
        """Such as `23 of 25 identical, 2 differ: torch 2.13 -> 2.14`; what is only restored or cut short counts not."""
        retrained = [each for each in self.by_experiment.values() if each.how == "retrained"]
        other = [each for each in retrained if each.verdict != "identical"]
        text = f"{len(retrained) - len(other)} of {len(retrained)} identical"
        if not other:
            return text
        words = list(dict.fromkeys(each.differences[0].words() for each in other if each.differences))
        return f"{text}, {len(other)} differ" + (f": {'; '.join(words[:3])}" if words else "")


def save_verdict(root: Path, verdict: Verdict) -> str:
    """Writes a verdict and gives its project-relative path."""
    content = dump(checked(verdict))
    short = hashlib.sha256(to_json(content).encode()).hexdigest()[:8]
    time = re.sub(r"[^0-9TZ]", "", verdict.checked_at)
    name = f"{layout.verdicts(verdict.experiment)}/{time}-{short}.json"
    write_json(root / name, content)
    return name


def load_verdicts(root: Path) -> Verdicts:
    """The verdicts of a checkout. Whatever lies among them, the rest is read."""
    found: dict[str, list[Verdict]] = {}
    problems = []
    for path in sorted((root / layout.VERDICTS).glob("*/*.json")):
        try:
            verdict = _parse(path)
        except (ValueError, OSError) as error:
            problems.append(Problem(printable(str(path.relative_to(root))), str(error)))
            continue
        found.setdefault(verdict.experiment, []).append(verdict)
    counting = {name: max(each, key=lambda one: (ORDER.index(one.how), one.checked_at)) for name, each in found.items()}
    return Verdicts(counting, problems)


def _parse(path: Path) -> Verdict:
    """A verdict of the experiment that its folder is named for.

    Raises:
        ValueError: it is none, in one line. OSError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError("it is no file of its own")
    try:
        verdict = decode(path.read_bytes(), Verdict)
    except ValueError as error:
        cause = printable(str(error)[:_LONGEST_CAUSE]).replace("\n", " ")
        raise ValueError(f"it is no verdict: {cause}") from None
    if verdict.experiment != path.parent.name or not is_id(verdict.experiment):
        raise ValueError("it is of another experiment than its folder says")
    return verdict
