"""Evaluation against a plain one, item by item, and the same however it is batched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from explicitlm.lm.data import answers
from explicitlm.lm.training import checkpoint, evaluate
from explicitlm.lm.training.evaluate import Evaluator
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.run_data import RunData, load_run_data

CPU = torch.device("cpu")


@pytest.fixture
def trained(small: Any) -> tuple[checkpoint.Checkpoint, RunData]:
    paths = small.train("run", epochs=1)
    loaded = checkpoint.load("out/run")
    return loaded, load_run_data(small.config(), paths)


def run(loaded: checkpoint.Checkpoint, run_data: RunData, stopped: bool = False) -> dict[str, float] | None:
    evaluator = Evaluator(run_data, loaded.config.max_seq_len, Group(), lambda: stopped)
    return evaluator.run(loaded.model, CPU)


def plain_score(loaded: checkpoint.Checkpoint, prompt: str, choice: str) -> float:
    """One choice alone, without padding: the mean log-probability of its tokens."""
    tokenizer = loaded.tokenizer
    start = [tokenizer.start_id, *tokenizer.encode(prompt)]
    ids = torch.tensor([[*start, *tokenizer.encode(f" {choice}")]])[:, -loaded.config.max_seq_len :]
    count = len(tokenizer.encode(f" {choice}"))
    log_p = F.log_softmax(loaded.model(ids).logits_BSV[0].double(), -1)
    paths = torch.arange(ids.shape[1] - count, ids.shape[1])
    return float(log_p[paths - 1, ids[0, paths]].mean())


def test_accuracies_and_loss_equal_the_plain_form(trained: Any) -> None:
    loaded, run_data = trained
    values = run(loaded, run_data)
    assert values is not None
    right: dict[str, list[bool]] = {}
    with torch.inference_mode():
        for item in run_data.items:
            scores = [plain_score(loaded, item.prompt, choice) for choice in item.choices]
            right.setdefault(item.task, []).append(scores.index(max(scores)) == item.answer)
        ids = torch.from_numpy(run_data.val.tokens_T.astype("int64"))
        total = count = 0.0
        for start in range(0, len(ids) - 1, 32):
            piece = ids[start : start + 33]
            logits = loaded.model(piece[:-1].unsqueeze(0)).logits_BSV[0]
            total += float(F.cross_entropy(logits.double(), piece[1:], reduction="sum"))
            count += len(piece) - 1
    for task, told in right.items():
        assert values[f"val/acc_{task}"] == pytest.approx(sum(told) / len(told))
    assert values["val/loss"] == pytest.approx(total / count, rel=1e-5)
    assert values["val/ppl"] == pytest.approx(math.exp(total / count), rel=1e-4)


def test_it_is_deterministic_draws_nothing_and_leaves_the_mode(trained: Any) -> None:
    loaded, run_data = trained
    loaded.model.train()
    before = torch.get_rng_state()
    first = run(loaded, run_data)
    assert first == run(loaded, run_data) and loaded.model.training
    assert torch.equal(before, torch.get_rng_state())


def test_a_stop_gives_it_up(trained: Any) -> None:
    loaded, run_data = trained
    assert run(loaded, run_data, stopped=True) is None


def test_batches_hold_every_row_within_the_budget(trained: Any) -> None:
    loaded, run_data = trained
    evaluator = Evaluator(run_data, loaded.config.max_seq_len, Group(), lambda: False)
    rows = [row for batch in evaluator.row_batches for row in batch]
    assert len(rows) == sum(len(item.choices) for item in run_data.items)
    for batch in evaluator.row_batches:
        assert len(batch) * max(len(row.ids) for row in batch) <= evaluate._TOKENS_AT_ONCE
        assert all(0 < row.start < len(row.ids) <= loaded.config.max_seq_len for row in batch)


def test_hits_count_the_layer_that_read_the_facts_row(trained: Any) -> None:
    """A fact whose row some layer read is a hit; without a known fact the metric is absent."""
    loaded, run_data = trained
    values = run(loaded, run_data)
    assert values is not None and 0 <= values["val/memory_hit_rate"] <= 1
    assert run_data.knowledge is not None
    read = set()
    with torch.inference_mode():
        item = run_data.items[0]
        tokenizer = loaded.tokenizer
        ids = torch.tensor([[tokenizer.start_id, *tokenizer.encode(item.prompt)]])
        for selection in loaded.model(ids).selections:
            read.add(int(selection.chosen_BS[0, -1]))
    run_data.knowledge.row_of.clear()
    unknown = run(loaded, run_data)
    assert unknown is not None and "val/memory_hit_rate" not in unknown
    run_data.knowledge.row_of[item.uuid] = read.pop()
    known = run(loaded, run_data)
    assert known is not None and known["val/memory_hit_rate"] > 0


def test_each_item_leaves_a_row_that_agrees_with_the_accuracies_and_a_plain_pass(trained: Any) -> None:
    loaded, run_data = trained
    evaluator = Evaluator(run_data, loaded.config.max_seq_len, Group(), lambda: False)
    assert evaluator.answers() == []
    values = evaluator.run(loaded.model, CPU)
    rows = evaluator.answers()
    assert values is not None and [row.prompt for row in rows] == [item.prompt for item in run_data.items]
    for task in ("object_prediction", "relation_reasoning", "fact_verification"):
        right = [row.right for row in rows if row.task == task]
        assert sum(right) / len(right) == pytest.approx(values[f"val/acc_{task}"])
    objects = [row.hit for row in rows if row.task == "object_prediction"]
    assert sum(map(bool, objects)) / len(objects) == pytest.approx(values["val/memory_hit_rate"])
    with torch.inference_mode():
        for row in rows:
            plain = [plain_score(loaded, row.prompt, choice) for choice in row.choices]
            assert row.scores == pytest.approx(plain, abs=1e-4) and row.choice == plain.index(max(plain))
            tokenizer = loaded.tokenizer
            said = tokenizer.encode(f" {row.choices[row.answer]}")
            ids = [tokenizer.start_id, *tokenizer.encode(row.prompt), *said][-loaded.config.max_seq_len :]
            output = loaded.model(torch.tensor([ids]))
            assert row.read == [int(each.chosen_BS[0, -len(said) - 1]) for each in output.selections]
            assert row.hit == (row.row in row.read)


@pytest.mark.parametrize(("changes", "layers"), [({"disable_memory": True}, 0), ({"router": "paper"}, 2)])
def test_the_other_forms_leave_rows_too(small: Any, changes: dict[str, Any], layers: int) -> None:
    paths = small.train("other", epochs=1, **changes)
    rows = answers.read(paths.items)
    assert rows and all(len(row.read) == layers for row in rows)
    assert all((row.hit is None) == (layers == 0) for row in rows)


def test_checkpoint_errors_say_what_to_pull(small: Any) -> None:
    from explicitlm.common.errors import DataError

    small.train("run", epochs=1)
    with pytest.raises(DataError, match=r"nowhere is not a checkpoint: model\.safetensors is missing"):
        checkpoint.load("nowhere")
    config = Path("out/run/config.json")
    config.write_text(config.read_text().replace('"dim": 32', '"dim": 48'))
    with pytest.raises(DataError, match=r"does not fit config\.json"):
        checkpoint.load("out/run")


def test_a_checkpoint_holds_its_four_files_and_nothing_of_the_run(small: Any) -> None:
    small.train("run", epochs=1, use_swanlab=False, log_interval=1)
    assert sorted(path.name for path in Path("out/run").iterdir()) == [
        "config.json",
        "knowledge.jsonl",
        "model.safetensors",
        "tokenizer.json",
    ]
    text = Path("out/run/config.json").read_text()
    assert "swanlab" not in text and "interval" not in text and str(small.folder) not in text
