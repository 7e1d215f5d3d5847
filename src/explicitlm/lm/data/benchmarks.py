"""Validation data: text for the loss, and items of the paper's three tasks (arXiv 2511.01581, section 4).

Lines of both kinds may stand in one file. An item is {"task", "uuid", "prompt", "choices", "answer"}, its
answer the index of the right choice. Where no line is text, the items' prompts with their right choices are.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explicitlm.common.errors import DataError
from explicitlm.lm.data.hashing import permutation
from explicitlm.lm.data.knowledge import id_of
from explicitlm.lm.data.records import read_records, text_of
from explicitlm.lm.data.source import KINDS, find_files

logger = logging.getLogger(__name__)

TASKS = ("object_prediction", "relation_reasoning", "fact_verification")


@dataclass(frozen=True)
class Item:
    """One question. answer: index into choices; uuid: the fact it is about, where known."""

    task: str
    prompt: str
    choices: tuple[str, ...]
    answer: int
    uuid: str | None

    def texts(self) -> list[str]:
        """The prompt continued by each choice."""
        return [f"{self.prompt} {choice}" for choice in self.choices]


@dataclass(frozen=True)
class Benchmark:
    """texts: for the validation loss, never empty; items: of the three tasks, in order, possibly none."""

    texts: list[str]
    items: list[Item]


def read_benchmarks(path: Path) -> Benchmark:
    """Reads every file of a validation set.

    Raises:
        DataError: a line that is neither text nor an item, by file and line; or no text at all.
    """
    texts: list[str] = []
    items: list[Item] = []
    for file in find_files(path, KINDS, "the validation data"):
        for number, value in read_records(file):
            if "task" in value:
                items.append(_item(value, f"{file}, line {number}"))
            else:
                texts.append(text_of(file, number, value))
    texts = [text for text in texts if text.strip()] or [item.texts()[item.answer] for item in items]
    if not texts:
        raise DataError(
            f"the validation data in {path} holds neither text nor items", "the formats are in docs/data-formats.md"
        )
    return Benchmark(texts, items)


def _item(value: dict[str, Any], place: str) -> Item:
    task, prompt, choices = value["task"], value.get("prompt"), value.get("choices")
    answer, uuid = value.get("answer"), value.get("uuid")
    if task not in TASKS:
        raise DataError(f"{place}: unknown task {task!r}", f"use one of {', '.join(TASKS)}")
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f'{place}: "prompt" is not a text', "correct the line")
    if (
        not isinstance(choices, list)
        or len(choices) < 2
        or not all(isinstance(choice, str) and choice for choice in choices)
    ):
        raise DataError(f'{place}: "choices" is not a list of two or more texts', "correct the line")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise DataError(
            f'{place}: "answer" is {answer!r}, not an index into {len(choices)} choices', "correct the line"
        )
    return Item(task, prompt, tuple(choices), answer, id_of(uuid, place))


def choose_items(items: list[Item], most: int, seed: int) -> list[Item]:
    """At most `most` items of each task, drawn by the seed; the order of the data is kept.

    Args:
        items: all items.
        most: items a task.
        seed: of the draw.
    """
    total = Counter(item.task for item in items)
    place_of_task: Counter[str] = Counter()
    kept_of_task = {task: set(permutation(total[task], seed)[:most].tolist()) for task in total}
    kept = []
    for item in items:
        if place_of_task[item.task] in kept_of_task[item.task]:
            kept.append(item)
        place_of_task[item.task] += 1
    for task in TASKS:
        if total[task] > most:
            logger.info(f"evaluation: {most:,} of {total[task]:,} items of {task}, drawn by the seed")
    return kept
