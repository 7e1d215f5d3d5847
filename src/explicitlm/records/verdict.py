"""What came of running an experiment again: kept beside its record, never in it.

Each check is a file of its own under experiments/verdicts/<id>/, so that two people who verify the same experiment
never conflict in git. Nothing is written over; of several checks the strongest, then the newest counts.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import to_json, write_json
from explicitlm.lm.config import explain
from explicitlm.records.schema import Part

Grade = Literal["identical", "same_curve", "within_tolerance", "different", "not_reproducible"]
Cause = Literal[
    "code", "parameters", "data", "weights", "packages", "hardware", "world size", "precision", "threads", "training"
]
ORDER: tuple[Literal["restored", "head", "retrained"], ...] = ("restored", "head", "retrained")


class Difference(Part):
    """One thing that was otherwise than in the record. what: such as `torch`; was, now: its two values."""

    cause: Cause
    what: str
    was: Any
    now: Any

    def words(self) -> str:
        """`torch 2.13.0 -> 2.14.0`."""
        return f"{self.what} {self.was} -> {self.now}"


class Verdict(Part):
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
    causes: list[Cause] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)
    steps: int | None = None
    last_equal_step: int | None = None
    first_divergent_step: int | None = None
    part: str | None = None
    parts: list[str] = Field(default_factory=list)
    reason: str | None = None
    checkpoint_hash: str | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)

    def lines(self) -> list[str]:
        """What a person reads."""
        lines = [f"{self.experiment}: {self.verdict} ({self.how})"]
        if self.reason:
            lines.append(f"  {self.reason}")
        if self.first_divergent_step is not None:
            lines.append(f"  parts at step {self.first_divergent_step}, in {', '.join(self.parts)}")
        lines += [f"  {each.cause}: {each.words()}" for each in self.differences]
        return lines


def save_verdict(root: Path, verdict: Verdict) -> str:
    """Writes a verdict and gives its project-relative path."""
    content = Verdict.model_validate(verdict.model_dump(mode="json")).model_dump(mode="json")
    short = hashlib.sha256(to_json(content).encode()).hexdigest()[:8]
    time = re.sub(r"[^0-9TZ]", "", verdict.checked_at)
    name = f"{layout.verdicts(verdict.experiment)}/{time}-{short}.json"
    write_json(root / name, content)
    return name


def all_verdicts(root: Path) -> dict[str, list[Verdict]]:
    """Every verdict of a checkout, by experiment, the weakest and oldest first.

    Raises:
        UsageError: a file is none, or of a newer version of this project.
    """
    found: dict[str, list[Verdict]] = {}
    for path in sorted((root / layout.VERDICTS).glob("*/*.json")):
        verdict = _parse(path.read_bytes(), str(path.relative_to(root)))
        found.setdefault(verdict.experiment, []).append(verdict)
    for verdicts in found.values():
        verdicts.sort(key=lambda each: (ORDER.index(each.how), each.checked_at))
    return found


def load_verdicts(root: Path) -> dict[str, Verdict]:
    """The verdict that counts for each experiment of a checkout: the strongest check, of equal ones the newest.

    Raises:
        UsageError: a file is none, or of a newer version of this project.
    """
    return {experiment: verdicts[-1] for experiment, verdicts in all_verdicts(root).items()}


def _parse(content: bytes, source: str) -> Verdict:
    try:
        return Verdict.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(f"{source} is not a valid verdict: {explain(error)}", f"git checkout -- {source}") from None
