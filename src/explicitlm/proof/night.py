"""`explicitlm reproduce --next`: the cheapest experiments that nobody has retrained yet, as many as the time allows."""

from __future__ import annotations

import logging
import re
import time

from explicitlm.common.errors import UsageError
from explicitlm.proof.reproduce import OverBudgetError, reproduce
from explicitlm.records import store
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Verdict, load_verdicts
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """A time such as 2h, 90m or 300s.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match:
        raise UsageError(f"{text!r} is not a time", "explicitlm reproduce --next --budget 2h")
    return float(match[1]) * UNITS[match[2]]


def unverified(workspace: Workspace) -> list[Record]:
    """Records that hold how their weights are made, and that nobody has made again; the cheapest first."""
    verdicts = load_verdicts(workspace.main).by_experiment
    done = {name for name, verdict in verdicts.items() if verdict.how == "retrained"}
    waiting = []
    for name in store.ids(workspace.main):
        try:
            record = store.load(workspace.main, name)
        except UsageError as error:
            logger.warning(f"left out: {error.cause}")
            continue
        repeatable = record.versions.checkpoint_hash and (record.lineage is None or record.lineage.repeat is not None)
        if repeatable and name not in done:
            waiting.append(record)
    return sorted(waiting, key=_cost)


def verify_next(workspace: Workspace, budget: float) -> list[Verdict]:
    """Retrains one after the other, as long as the next one is expected to end within the budget of seconds.

    What is expected is the recorded duration of its training, times what the last one took longer than its own. A
    training that overruns what is left of the budget is ended and told, and has no verdict.

    Raises:
        UsageError: not even the cheapest fits.
        OverBudgetError: the first one already overran.
    """
    start, slower = time.monotonic(), 1.0
    verdicts: list[Verdict] = []
    waiting = unverified(workspace)
    for record in waiting:
        expected = _cost(record) * slower
        remaining = budget - (time.monotonic() - start)
        if expected > remaining or remaining <= 0:
            break
        try:
            verdict = reproduce(workspace, record.experiment.id, retrain=True, limit_s=remaining)
        except OverBudgetError as error:
            if not verdicts:
                raise
            logger.warning(error.cause)
            break
        logger.info(f"{verdict.experiment}: {verdict.verdict}")
        verdicts.append(verdict)
        slower = max(1.0, verdict.duration_s / max(_cost(record), 1.0))
    if waiting and not verdicts:
        cost = _cost(waiting[0])
        raise UsageError(f"the cheapest, {waiting[0].experiment.id}, trained {cost:.0f} s: more than the budget of "
                         f"{budget:.0f} s", f"explicitlm reproduce --next --budget {2 * cost + 60:.0f}s")  # fmt: skip
    return verdicts


def _cost(record: Record) -> float:
    return record.timing.duration_s if record.timing else 0.0
