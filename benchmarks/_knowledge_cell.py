"""One training of benchmarks/knowledge.py and its examination, in a process of its own with one thread.

    python benchmarks/_knowledge_cell.py '{"form": "default", "world": "sample", "passes": 3, "rows": 4096, "seed": 1}'

Prints one JSON line: the description it was given, steps, CPU seconds, and what was measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _knowledge_parts import FORMS, PARTS
from _report import commit
from _worlds import World, make
from ruamel.yaml import YAML

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.benchmarks import Item
from explicitlm.lm.data.knowledge import knowledge_of
from explicitlm.lm.training import checkpoint, cli
from explicitlm.lm.training.editing import add_facts
from explicitlm.lm.training.evaluate import Evaluator, with_object
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.run_data import RunData, load_run_data
from explicitlm.lm.training.run_paths import INPUTS, RunPaths

CPU = torch.device("cpu")
EDITS = 150
FEW = 4096  # rows up to which the bank holds the world's own facts only


def settings() -> dict[str, Any]:
    """The hyperparameters of params.yaml."""
    values = YAML(typ="safe").load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    return {name: values[name] for name in TrainConfig.__struct_fields__ if name in values}


def run(cell: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes the world, trains and examines.

    Args:
        cell: form, world ("sample" or a path), passes over the text, rows of the bank, seed.
        folder: a new one; the working directory from then on.
    """
    form = {**FORMS, **PARTS}[cell["form"]]
    source = None if cell["world"] == "sample" else Path(cell["world"])
    world = make(source, folder, form.rows_as_text, cell["rows"] if cell["rows"] > FEW else 0)
    form.apply()
    values = {
        **settings(),
        **form.values,
        "seed": cell["seed"],
        "epochs": cell["passes"],
        "knowledge_num": cell["rows"],
        "eval_interval": 10**9,  # at the end only
        "save_interval": 10**9,
        "use_swanlab": False,
    }
    words = []
    for key, value in values.items():
        words += [f"--{key}" if value else f"--no-{key}"] if isinstance(value, bool) else [f"--{key}", str(value)]
    os.chdir(folder)
    with contextlib.redirect_stdout(sys.stderr):
        if cli.main([*words, "--out_dir", "out", "--metrics_dir", "metrics"]):
            raise SystemExit(f"{cell}: the training failed; its message is above")
        found = examine(world)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {**cell, "commit": commit(), "cpu_seconds": round(usage.ru_utime + usage.ru_stime), **found}


def examine(world: World) -> dict[str, float]:
    """Accuracies of the trained form, after the facts that it never saw were added to its bank."""
    loaded = checkpoint.load(Path("out"))
    options: dict[str, str | None] = dict.fromkeys(INPUTS)
    data = load_run_data(loaded.config, RunPaths.of(options | {"out_dir": "x", "metrics_dir": "x"}, False))
    if loaded.model.bank is not None:
        length = loaded.config.knowledge_length
        add_facts(loaded, [f for f in world.groups["inserted"] if len(loaded.tokenizer.encode(f.sentence)) <= length])
        rows_NL = loaded.model.bank.read(torch.arange(loaded.model.bank.rows)).numpy().astype("uint16")
        data = replace(data, knowledge=knowledge_of(rows_NL, loaded.facts, loaded.tokenizer))
    values: dict[str, float] = {}
    for group, items in world.items.items():
        right, said, hit = answers(loaded, data, items)
        values |= {f"{group}": mean(right), f"{group} greedy": mean(said), f"{group} hit": mean(hit)}
    if loaded.model.router is not None:
        values |= edits(loaded, data, world.items["in_text"] + world.items["bank_only"])
    metrics = json.loads(Path("metrics/metrics.json").read_text())
    for task in ("relation_reasoning", "fact_verification"):
        values[task] = metrics.get(f"acc_{task}", float("nan"))
    return {**{key: round(value, 4) for key, value in values.items()}, "steps": metrics["steps"]}


def answers(
    loaded: checkpoint.Checkpoint, data: RunData, items: list[Item]
) -> tuple[list[bool], list[float], list[float]]:
    """Of each item: answered rightly, said in full by greedy decoding, the fact's row read."""
    evaluator = Evaluator(replace(data, items=items), loaded.config.max_seq_len, Group(), lambda: False)
    with torch.inference_mode():
        tasks = evaluator.examine(loaded.model, CPU, evaluator.row_batches)
    numbers = range(len(items))
    said, hit = ([float(tasks[n, items[n].answer, column]) for n in numbers] for column in (1, 2))
    return evaluator.right(tasks, list(numbers)), said, hit


def edits(loaded: checkpoint.Checkpoint, data: RunData, items: list[Item]) -> dict[str, float]:
    """New answers after EDITS rows were rewritten at once, and how many other answers changed by that."""
    bank, knowledge = loaded.model.bank, data.knowledge
    assert bank is not None and knowledge is not None
    chosen, rows, tokens, spans = [], [], [], []
    for item in items[:: max(1, len(items) // EDITS)][:EDITS]:
        row = knowledge.row_of[item.uuid or ""]
        choice = (item.answer + 1) % 4
        edit = with_object(
            bank.read(torch.tensor(row)).tolist(),
            tuple(knowledge.objects_N2[row].tolist()),
            loaded.tokenizer.encode(f" {item.choices[choice]}"),
            bank.pad_id,
        )
        if edit:
            chosen.append(replace(item, answer=choice))
            rows.append(row)
            tokens.append(edit[0])
            spans.append(edit[1])
    others = [item for item in items if knowledge.row_of[item.uuid or ""] not in set(rows)]
    before = answers(loaded, data, others)[0]
    with bank.swapped(torch.tensor(rows), torch.tensor(tokens), torch.tensor(spans)):
        right, _, hit = answers(loaded, data, chosen)
        after = answers(loaded, data, others)[0]
    return {
        "edit where read": mean([r for r, h in zip(right, hit, strict=True) if h]),
        "edit all": mean(right),
        "other answers changed": mean([a != b for a, b in zip(before, after, strict=True)]),
    }


def mean(values: list[Any]) -> float:
    """The mean, or not a number of nothing."""
    return float(statistics.fmean(values)) if values else float("nan")


if __name__ == "__main__":
    os.environ["EXPLICITLM_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(run(json.loads(sys.argv[1]), Path(place) / "world")), flush=True)
