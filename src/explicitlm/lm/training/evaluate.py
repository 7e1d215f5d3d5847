"""Evaluation without noise or luck: validation loss, the paper's three tasks by likelihood, memory hits.

A choice's score is the mean log-probability of its tokens after `<|im_start|>prompt`; the largest wins
(length-normalised likelihood, as in the Language Model Evaluation Harness's acc_norm).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from explicitlm.lm.data.benchmarks import TASKS
from explicitlm.lm.data.tokenizer import TextTokenizer
from explicitlm.lm.model import ExplicitLM, ModelOutput
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.run_data import RunData

_TOKENS_AT_ONCE = 8192  # of a batch, padding included


@dataclass(frozen=True)
class Row:
    """One choice of one item: ids without the end mark, the choice's first place, and the fact's bank row."""

    item: int
    choice: int
    ids: list[int]
    start: int
    bank_row: int | None


class Evaluator:
    """Everything that can be prepared once: the items' ids in batches of near-equal length.

    Args:
        run_data: validation text, items and knowledge.
        length: longest sequence the model takes; longer items lose their beginning.
        group: shares the batches out; all processes get the same result.
        stopped: asked between batches; once true, the evaluation is given up.
    """

    def __init__(self, run_data: RunData, length: int, group: Group, stopped: Callable[[], bool]) -> None:
        self._run_data, self._group, self._stopped = run_data, group, stopped
        rows_of = run_data.knowledge.row_of if run_data.knowledge else {}
        rows = _rows(run_data, rows_of, length)
        rows.sort(key=lambda row: len(row.ids))  # stable: equal lengths keep the order of the data
        self._row_batches = list(_batches_of(rows))

    def run(self, model: ExplicitLM, device: torch.device) -> dict[str, float] | None:
        """Metrics by key, equal on all processes; None when any of them was told to stop."""
        training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                loss = self._loss(model, device)
                tasks = self._tasks(model, device)
        finally:
            model.train(training)
        if self._group.max(int(self._stopped())):
            return None
        total = self._group.sum(loss)
        value = float(total[0] / total[1])
        return {"val/loss": value, "val/ppl": math.exp(min(value, 700.0)), **self._accuracies(tasks)}

    def _loss(self, model: ExplicitLM, device: torch.device) -> Tensor:
        """Sum of the cross entropies of this process's share, and number of its targets."""
        windows, sequences = self._run_data.val, self._run_data.val_sequences
        size = max(1, _TOKENS_AT_ONCE // windows.length)
        total = torch.zeros(2, dtype=torch.float64)
        for number, start in enumerate(range(0, len(sequences), size)):
            if self._stopped():
                break
            if number % self._group.size == self._group.rank:
                part = sequences[start : start + size]
                inputs_BS, targets_BS = (torch.from_numpy(ids).to(device) for ids in windows.batch(part))
                count = windows.targets(part)
                loss = float(model(inputs_BS, targets_BS).loss_ce)
                total += torch.tensor([loss * count, count], dtype=torch.float64)
        return total

    def _tasks(self, model: ExplicitLM, device: torch.device) -> Tensor:
        """Per item and choice its score, [items, choices, 2]: score and hit; 0 where it is another's share."""
        items = self._run_data.items
        width = max((len(item.choices) for item in items), default=0)
        result = torch.zeros(len(items), width, 2, dtype=torch.float64)
        for number, batch in enumerate(self._row_batches):
            if self._stopped():
                break
            if number % self._group.size == self._group.rank:
                ids_BS = _padded(batch, self._run_data.tokenizer.pad_id).to(device)
                output: ModelOutput = model(ids_BS)
                for row, score, hit in zip(batch, _scores(output, ids_BS, batch), _hits(output, batch), strict=True):
                    result[row.item, row.choice] = torch.tensor([score, hit], dtype=torch.float64)
        return result

    def _accuracies(self, tasks: Tensor) -> dict[str, float]:
        """Accuracy of each task that has items, and the share of items whose fact was read."""
        items = self._run_data.items
        tasks = self._group.sum(tasks)
        right: dict[str, list[bool]] = {task: [] for task in TASKS}
        for number, item in enumerate(items):
            scores = tasks[number, : len(item.choices), 0]
            right[item.task].append(int(scores.argmax()) == item.answer)
        values = {f"val/acc_{task}": float(np.mean(right[task])) for task in TASKS if right[task]}
        known = self._run_data.knowledge.row_of if self._run_data.knowledge else {}
        hits = [float(tasks[n, item.answer, 1]) for n, item in enumerate(items) if item.uuid in known]
        if hits:
            values["val/memory_hit_rate"] = float(np.mean(hits))
        return values


def _rows(run_data: RunData, row_of: dict[str, int], length: int) -> list[Row]:
    """Every choice of every item as ids."""
    tokenizer: TextTokenizer = run_data.tokenizer
    prompts = tokenizer.encode_batch([item.prompt for item in run_data.items])
    rows = []
    for number, (item, prompt) in enumerate(zip(run_data.items, prompts, strict=True)):
        for choice, choice_ids in enumerate(tokenizer.encode_batch([f" {text}" for text in item.choices])):
            choice_ids = choice_ids[: length - 1]
            ids = [tokenizer.start_id, *prompt, *choice_ids][-length:]
            bank_row = row_of.get(item.uuid) if item.uuid else None
            rows.append(Row(number, choice, ids, len(ids) - len(choice_ids), bank_row))
    return rows


def _batches_of(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows, sorted by length, in batches of at most `_TOKENS_AT_ONCE` padded tokens."""
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row.ids) > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _padded(batch: list[Row], pad_id: int) -> Tensor:
    longest = max(len(row.ids) for row in batch)
    return torch.tensor([row.ids + [pad_id] * (longest - len(row.ids)) for row in batch])


def _scores(output: ModelOutput, ids_BS: Tensor, batch: list[Row]) -> list[float]:
    """Mean log-probability of each row's choice; only the choices' positions pass the softmax."""
    assert output.logits_BSV is not None
    paths = [(b, t) for b, row in enumerate(batch) for t in range(row.start, len(row.ids))]
    row_P, place_P = torch.tensor(paths, device=ids_BS.device).T
    logits_PV = output.logits_BSV[row_P, place_P - 1].float()
    log_p_P = -F.cross_entropy(logits_PV, ids_BS[row_P, place_P], reduction="none").double().cpu()
    lengths = [len(row.ids) - row.start for row in batch]
    return [float(part.mean()) for part in log_p_P.split(lengths)]


def _hits(output: ModelOutput, batch: list[Row]) -> list[float]:
    """1 where some layer read the fact's row at the prompt's last token."""
    if not output.selections:
        return [0.0] * len(batch)
    chosen_LBS = torch.stack([selection.chosen_BS for selection in output.selections]).cpu()
    return [
        float(row.bank_row is not None and bool((chosen_LBS[:, b, row.start - 1] == row.bank_row).any()))
        for b, row in enumerate(batch)
    ]
