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

from explicitlm.lm.data.answers import Answer
from explicitlm.lm.data.benchmarks import TASKS
from explicitlm.lm.data.tokenizer import TextTokenizer
from explicitlm.lm.model import ExplicitLM, ModelOutput
from explicitlm.lm.model.layer import Choose
from explicitlm.lm.training.answered import answers
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.run_data import RunData

_EDITS = 64  # rows edited in one evaluation
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
        knowledge = run_data.knowledge
        rows = _rows(run_data, knowledge.row_of if knowledge else {}, length)
        rows.sort(key=lambda row: len(row.ids))  # stable: equal lengths keep the order of the data
        self.row_batches = list(_batches_of(rows))
        items = run_data.items
        known = [n for n, item in enumerate(items) if knowledge and item.uuid in knowledge.row_of]
        about_objects = {n for n in known if items[n].task == "object_prediction"}
        self._known_batches = list(_batches_of([row for row in rows if row.item in about_objects]))
        self._known = sorted(about_objects)
        self._read_N = torch.zeros(len(knowledge.rows_NL) if knowledge else 0, dtype=torch.float64)
        self._rows_in_text = set() if run_data.labels is None else set(np.unique(run_data.labels.rows_K).tolist())
        self._tasks: Tensor | None = None

    def run(self, model: ExplicitLM, device: torch.device) -> dict[str, float] | None:
        """Metrics by key, equal on all processes; None when any of them was told to stop.

        The router searches as it will in the loaded checkpoint; the training's own index stays as it is.
        """
        training = model.training
        model.eval()
        try:
            with torch.inference_mode(), model.fresh_index():
                self._read_N.zero_()
                loss = self._loss(model, device)
                tasks = self._tasks = self.examine(model, device, self.row_batches)
                values = {**self._accuracies(tasks), **self._memory(model, device, tasks)}
        finally:
            model.train(training)
        if self._group.max(int(self._stopped())):
            return None
        total = self._group.sum(loss)
        value = float(total[0] / total[1])
        return {"val/loss": value, "val/ppl": math.exp(min(value, 700.0)), **values}

    def answers(self) -> list[Answer]:
        """What the model of the last `run` answered, one row an item; equal on all processes."""
        return [] if self._tasks is None else answers(self._run_data, self._tasks)

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
                output = model(inputs_BS, targets_BS)
                self._note(output)
                loss = float(output.loss_ce)
                total += torch.tensor([loss * count, count], dtype=torch.float64)
        return total

    def examine(
        self, model: ExplicitLM, device: torch.device, batches: list[list[Row]], oracle: bool = False
    ) -> Tensor:
        """What is known of each item and choice [items, choices, 5 + reading layers], all processes together.

        Score; whether greedy decoding would say the choice; and at the prompt's last token whether the fact's row was
        read, was among the candidates, whether the row read is the one that an exact search finds, and the rows read.

        Args:
            batches: of rows.
            oracle: read the fact's row, whatever the router finds.
        """
        items = self._run_data.items
        width = max((len(item.choices) for item in items), default=0)
        result = torch.zeros(len(items), width, 5 + _reading_layers(model), dtype=torch.float64)
        for number, batch in enumerate(batches):
            if self._stopped():
                break
            if number % self._group.size == self._group.rank:
                ids_BS = _padded(batch, self._run_data.tokenizer.pad_id).to(device)
                output: ModelOutput = model(ids_BS, choose=_given(batch, ids_BS) if oracle else None)
                self._note(output)
                found_BF = _found(model, output, batch)
                for row, score, found in zip(batch, _scores(output, ids_BS, batch), found_BF, strict=True):
                    result[row.item, row.choice] = torch.tensor([*score, *found], dtype=torch.float64)
        return self._group.sum(result)

    def _note(self, output: ModelOutput) -> None:
        """Remembers which rows were read."""
        for selection in output.selections:
            self._read_N[selection.chosen_BS.flatten().cpu()] = 1.0

    def right(self, tasks: Tensor, numbers: list[int]) -> list[bool]:
        """Which of some items were answered rightly."""
        items = self._run_data.items
        return [int(tasks[n, : len(items[n].choices), 0].argmax()) == items[n].answer for n in numbers]

    def _accuracies(self, tasks: Tensor) -> dict[str, float]:
        """Accuracy of each task that has items, and how often greedy decoding says the whole right object."""
        items = self._run_data.items
        values = {}
        for task in TASKS:
            numbers = [n for n, item in enumerate(items) if item.task == task]
            if numbers:
                values[f"val/acc_{task}"] = float(np.mean(self.right(tasks, numbers)))
            if numbers and task == "object_prediction":
                greedy = [float(tasks[n, items[n].answer, 1]) for n in numbers]
                values["val/greedy_object_prediction"] = float(np.mean(greedy))
        return values

    def _memory(self, model: ExplicitLM, device: torch.device, tasks: Tensor) -> dict[str, float]:
        """How the memory was used in the items about objects; empty where there is no memory or no known fact."""
        items, known = self._run_data.items, self._known
        if model.bank is None or not known:
            return {}
        right = self.right(tasks, known)
        hit, among, exact = ([float(tasks[n, items[n].answer, column]) for n in known] for column in (2, 3, 4))
        values = {
            "val/memory_hit_rate": hit,
            "val/memory_hit_rate_right": [h for h, r in zip(hit, right, strict=True) if r],
            "val/memory_hit_rate_wrong": [h for h, r in zip(hit, right, strict=True) if not r],
            "val/memory_recall": among,
            "val/memory_rows_read": (self._group.sum(self._read_N) > 0).double().tolist(),
        }
        if model.router is not None:
            in_text = [self._row_of(n) in self._rows_in_text for n in known]
            oracle = self.examine(model, device, self._known_batches, oracle=True)
            values |= {
                "val/index_recall": exact,
                "val/acc_facts_in_text": [r for r, t in zip(right, in_text, strict=True) if t],
                "val/acc_facts_bank_only": [r for r, t in zip(right, in_text, strict=True) if not t],
                "val/acc_oracle": self.right(oracle, known),
                "val/acc_facts_edited": self._edited(model, device),
            }
        return {name: float(np.mean(numbers)) for name, numbers in values.items() if len(numbers)}

    def _row_of(self, number: int) -> int:
        knowledge, uuid = self._run_data.knowledge, self._run_data.items[number].uuid
        assert knowledge is not None and uuid is not None
        return knowledge.row_of[uuid]

    def _edited(self, model: ExplicitLM, device: torch.device) -> list[bool]:
        """Whether the new answer wins after a wrong choice was written into the row, for up to `_EDITS` items."""
        assert model.bank is not None and self._run_data.knowledge is not None
        tokenizer, items = self._run_data.tokenizer, self._run_data.items
        rows, tokens, spans, numbers, choices = [], [], [], [], []
        for number in self._known[:: max(1, len(self._known) // _EDITS)][:_EDITS]:
            row, item = self._row_of(number), items[number]
            choice = (item.answer + 1) % len(item.choices)
            edit = with_object(
                model.bank.read(torch.tensor(row)).tolist(),
                tuple(self._run_data.knowledge.objects_N2[row].tolist()),
                tokenizer.encode(f" {item.choices[choice]}"),
                tokenizer.pad_id,
            )
            if edit is not None and row not in rows:
                rows.append(row)
                tokens.append(edit[0])
                spans.append(edit[1])
                numbers.append(number)
                choices.append(choice)
        if not rows:
            return []
        batches = list(_batches_of([r for b in self._known_batches for r in b if r.item in set(numbers)]))
        with model.bank.swapped(*(torch.tensor(part, device=device) for part in (rows, tokens, spans))):
            tasks = self.examine(model, device, batches)
        scores = [tasks[n, : len(items[n].choices), 0] for n in numbers]
        return [int(score.argmax()) == choice for score, choice in zip(scores, choices, strict=True)]


def with_object(
    row: list[int], span: tuple[int, ...], new_object: list[int], pad_id: int
) -> tuple[list[int], tuple[int, int]] | None:
    """A row's tokens and object span with another object; None where the row has none or the new one does not fit."""
    tokens = [*row[: span[0]], *new_object, *(token for token in row[span[1] :] if token != pad_id)]
    if not span[1] or len(tokens) > len(row):
        return None
    return tokens + [pad_id] * (len(row) - len(tokens)), (span[0], span[0] + len(new_object))


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


def _scores(output: ModelOutput, ids_BS: Tensor, batch: list[Row]) -> list[tuple[float, float]]:
    """Mean log-probability of each row's choice, and 1 where all of its tokens are the likeliest ones.

    Only the choices' positions pass the softmax.
    """
    assert output.logits_BSV is not None
    paths = [(b, t) for b, row in enumerate(batch) for t in range(row.start, len(row.ids))]
    row_P, place_P = torch.tensor(paths, device=ids_BS.device).T
    logits_PV = output.logits_BSV[row_P, place_P - 1].float()
    log_p_P = -F.cross_entropy(logits_PV, ids_BS[row_P, place_P], reduction="none").double().cpu()
    best_P = (logits_PV.argmax(1) == ids_BS[row_P, place_P]).cpu()
    lengths = [len(row.ids) - row.start for row in batch]
    parts = zip(log_p_P.split(lengths), best_P.split(lengths), strict=True)
    return [(float(log_p.mean()), float(best.all())) for log_p, best in parts]


def _given(batch: list[Row], ids_BS: Tensor) -> Choose:
    """Reads each item's own row, at every position."""
    row_B = torch.tensor([row.bank_row or 0 for row in batch], device=ids_BS.device)
    row_T = row_B.repeat_interleave(ids_BS.shape[1])
    return lambda _: row_T


def _reading_layers(model: ExplicitLM) -> int:
    """How many layers choose rows: in the default form one for all that read, in the dense baseline none."""
    if model.bank is None:
        return 0
    return 1 if model.router is not None else model.config.n_layers


def _found(model: ExplicitLM, output: ModelOutput, batch: list[Row]) -> list[list[float]]:
    """At each prompt's last token: the fact's row was read, was a candidate, the search was exact; the rows read."""
    if not output.selections:
        return [[0.0, 0.0, 0.0]] * len(batch)
    b_B = torch.arange(len(batch), device=output.selections[0].chosen_BS.device)
    last_B = torch.tensor([row.start - 1 for row in batch], device=b_B.device)
    wanted_B = torch.tensor([-1 if row.bank_row is None else row.bank_row for row in batch], device=b_B.device)
    read_LB = torch.stack([selection.chosen_BS[b_B, last_B] for selection in output.selections])
    among_LBC = torch.stack([selection.candidates_BSC[b_B, last_B] for selection in output.selections])
    hit_B = (read_LB == wanted_B).any(0)
    among_B = (among_LBC == wanted_B.unsqueeze(1)).any(2).any(0)
    exact_B = torch.zeros_like(hit_B)
    if model.router is not None:
        index = model.router.index
        address_BK = model.router.address(output.selections[0].query_BSD[b_B, last_B]).float()
        best_B = index.order_N[(address_BK @ index.keys_NK.T).argmax(1)]
        exact_B = among_LBC[0, :, 0] == best_B
    return torch.stack([hit_B, among_B, exact_B, *read_LB]).double().T.tolist()
