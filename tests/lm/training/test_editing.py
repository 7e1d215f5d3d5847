"""Facts are written, changed and removed in a finished model; what it measures is what it does once loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from explicitlm.common.errors import UsageError
from explicitlm.lm.data.knowledge import Fact
from explicitlm.lm.training import asking, checkpoint, editing
from explicitlm.lm.training.evaluate import Evaluator, with_object
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.run_data import load_run_data


def test_a_loaded_checkpoint_measures_what_the_training_measured(small: Any) -> None:
    paths = small.train("run", epochs=2)
    loaded = checkpoint.load("out/run")
    evaluator = Evaluator(load_run_data(small.config(), paths), loaded.config.max_seq_len, Group(), lambda: False)
    values = evaluator.run(loaded.model, torch.device("cpu"))
    assert values is not None
    stored = json.loads(Path("metrics/run/metrics.json").read_text())
    known = {name.removeprefix("val/"): value for name, value in values.items()}
    for name in ("memory_hit_rate", "index_recall", "memory_recall", "memory_rows_read", "acc_oracle"):
        assert 0 <= known[name] <= 1 and known[name] == pytest.approx(stored[name])
    assert {"acc_facts_in_text", "acc_facts_edited", "greedy_object_prediction"} <= set(stored)
    assert stored["val_loss"] == pytest.approx(known["loss"])


def test_facts_are_changed_without_touching_others(small: Any) -> None:
    small.train("run", epochs=1)
    loaded = checkpoint.load("out/run")
    bank = editing.bank_of(loaded)
    before = bank.entries_NL.clone()
    changed = editing.edit_fact(loaded, 2, "Rome" if loaded.facts[2].object != "Rome" else "Oslo")
    row = editing.add_fact(loaded, Fact("Ivo lives in Lima.", None, "Ivo", "home", "Lima"))
    gone = editing.remove_fact(loaded, 5)
    differing = (bank.entries_NL != before).any(1).nonzero().flatten().tolist()
    assert differing == sorted({2, 5, row}) and gone.sentence not in {fact.sentence for fact in loaded.facts.values()}
    checkpoint.save(Path("out/changed"), loaded.model, loaded.tokenizer, loaded.facts)
    again = checkpoint.load("out/changed")
    assert again.facts == loaded.facts and again.facts[2] == changed
    assert again.model.bank is not None and torch.equal(again.model.bank.entries_NL, bank.entries_NL)
    assert again.model.router is not None and loaded.model.router is not None
    said = [asking.generate(model, "Ivo lives in", 4) for model in (loaded, again)]
    assert said[0] == said[1]
    with pytest.raises(UsageError, match="row 5 holds no fact"):
        editing.edit_fact(again, 5, "Rome")
    with pytest.raises(UsageError, match="a row holds 1 to 8"):
        editing.add_fact(again, Fact("Ivo lives in a house that is far too long for a row of eight.", None))


def test_the_row_that_is_hidden_is_not_read(small: Any) -> None:
    small.train("run", epochs=1)
    loaded = checkpoint.load("out/run")
    read = asking.trace(loaded, "Ada lives in")[-1]
    with torch.inference_mode():
        ids = torch.tensor([asking.prompt_ids(loaded, "Ada lives in")])
        shown = loaded.model(ids, choose=asking.without({read.row})).selections[0].chosen_BS[0]
    assert read.row not in shown.tolist()


def test_another_object_in_a_row() -> None:
    assert with_object([5, 6, 7, 8, 0, 0], (1, 3), [9], 0) == ([5, 9, 8, 0, 0, 0], (1, 2))
    assert with_object([5, 6, 7, 8], (1, 3), [9, 9, 9], 0) is None
    assert with_object([5, 6, 7, 8], (0, 0), [9], 0) is None
