"""The rows that an evaluation leaves: what it found out about each item, by item."""

from __future__ import annotations

import math

from torch import Tensor

from explicitlm.lm.data.answers import Answer
from explicitlm.lm.training.run_data import RunData

_DECIMALS = 4  # of a score


def answers(run_data: RunData, tasks: Tensor) -> list[Answer]:
    """One row an item, in the order of the data.

    Args:
        run_data: the items, and the bank rows of their facts.
        tasks: what `Evaluator.examine` gave.
    """
    row_of = run_data.knowledge.row_of if run_data.knowledge else {}
    found = []
    for item, known in zip(run_data.items, tasks, strict=True):
        scores = known[: len(item.choices), 0]
        hit, read = known[item.answer, 2], known[item.answer, 5:]
        row = row_of.get(item.uuid) if item.uuid else None
        found.append(
            Answer(
                task=item.task,
                uuid=item.uuid,
                prompt=item.prompt,
                choices=list(item.choices),
                answer=item.answer,
                scores=[round(score, _DECIMALS) if math.isfinite(score) else None for score in scores.tolist()],
                choice=int(scores.argmax()),
                row=row,
                read=[int(number) for number in read.tolist()],
                hit=None if row is None else bool(hit),
            )
        )
    return found
