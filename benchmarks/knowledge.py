"""Whether the memory helps: accuracy on facts in the text, only in the bank, and inserted after training.

    python benchmarks/knowledge.py                      # the sample, one seed: about 8 minutes on 2 cores
    python benchmarks/knowledge.py --json
    python benchmarks/knowledge.py --full               # three seeds and what each part is worth
    python benchmarks/knowledge.py --data FOLDER        # other data: database/, knowledge_base/, benchmarks/

Every form is trained by 1_pretrain.py with the values of params.yaml; a choice among four objects of the same predicate
is right by chance in 25 of 100 cases. Dense models see the same text; `dense_rows` also gets the bank's sentences as
text, half of them with another's object, 1/8 more tokens, as the default form reads aloud.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _worlds import World, make
from ruamel.yaml import YAML

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.benchmarks import Item
from explicitlm.lm.data.knowledge import knowledge_of
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.training import checkpoint
from explicitlm.lm.training.editing import add_facts
from explicitlm.lm.training.evaluate import Evaluator, with_object
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.run_data import RunData, load_run_data
from explicitlm.lm.training.run_paths import INPUTS, RunPaths

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
FORMS: dict[str, dict[str, Any]] = {
    "default": {},
    "dense": {"disable_memory": True},
    "dense_rows": {"disable_memory": True},
    "paper": {"router": "paper"},
}
PARTS: dict[str, dict[str, Any]] = {  # the default without one of its parts, or with one more
    "nothing read aloud": {"aloud_share": 0.0},
    "no contrastive loss": {"router_coef": 0.0},
    "implicit rows updated": {"use_ema_update": True},
}
EDITS = 150


def settings() -> dict[str, Any]:
    """The hyperparameters of params.yaml."""
    values = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return {name: values[name] for name in TrainConfig.model_fields if name in values}


def train(world: World, name: str, values: dict[str, Any]) -> float:
    """Trains one form in a process of its own, one thread; returns its wall-clock seconds."""
    words = []
    for key, value in values.items():
        words += [f"--{key}" if value else f"--no-{key}"] if isinstance(value, bool) else [f"--{key}", str(value)]
    environment = {
        **os.environ,
        "EXPLICITLM_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "EXPLICITLM_RUN_DIR": str(world.folder / "runs" / name),
    }
    out = ["--out_dir", f"out/{name}", "--metrics_dir", f"metrics/{name}"]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "1_pretrain.py"), *words, *out],
        cwd=world.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - start


def examine(world: World, name: str) -> dict[str, float]:
    """Accuracies of a trained form, after the facts that it never saw were added to its bank."""
    loaded = checkpoint.load(world.folder / "out" / name)
    options: dict[str, str | None] = dict.fromkeys(INPUTS)
    here = Path.cwd()
    os.chdir(world.folder)
    try:
        data = load_run_data(loaded.config, RunPaths.of(options | {"out_dir": "x", "metrics_dir": "x"}, False))
    finally:
        os.chdir(here)
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
    metrics = json.loads((world.folder / "metrics" / name / "metrics.json").read_text())
    for task in ("relation_reasoning", "fact_verification"):
        values[task] = metrics.get(f"acc_{task}", float("nan"))
    return values


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
        wrong = item.choices[(item.answer + 1) % 4]
        edit = with_object(
            bank.read(torch.tensor(row)).tolist(),
            tuple(knowledge.objects_N2[row].tolist()),
            loaded.tokenizer.encode(f" {wrong}"),
            bank.pad_id,
        )
        if edit:
            chosen.append(replace(item, answer=(item.answer + 1) % 4))
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


def step_ratio(values: dict[str, Any], rounds: int = 9) -> float:
    """CPU time of the default's step, facts read aloud included, over the paper form's: median of rounds."""
    torch.set_num_threads(1)
    config = TrainConfig(**values)
    extra = round(config.aloud_share * config.batch_size)
    models = {form: ExplicitLM(TrainConfig(**{**values, "router": form}), 0) for form in ("content", "paper")}
    ratios = []
    for _ in range(rounds):
        seconds = {}
        for form, model in models.items():
            batch = config.batch_size + (extra if form == "content" else 0)
            ids = torch.randint(1, config.vocab_size, (batch, config.max_seq_len + 1))
            rows = torch.where(ids[:, 1:] % 5 == 0, ids[:, 1:], -1)
            start = time.process_time()
            model(ids[:, :-1], ids[:, 1:], rows_BS=rows, rival_M=torch.arange(256)).loss.backward()
            seconds[form] = time.process_time() - start
        ratios.append(seconds["content"] / seconds["paper"])
    return statistics.median(ratios)


def measure(source: Path | None, forms: dict[str, dict[str, Any]], seeds: list[int]) -> dict[str, dict[str, float]]:
    """Every form's values, means over seeds."""
    base = {**settings(), "use_swanlab": False}
    with tempfile.TemporaryDirectory() as folder:
        worlds = {flag: make(source, Path(folder) / str(flag), flag) for flag in (False, True)}
        jobs = [(form, seed) for seed in seeds for form in forms]

        def run(job: tuple[str, int]) -> None:
            form, seed = job
            seconds = train(worlds[form == "dense_rows"], f"{form}-{seed}", {**base, **forms[form], "seed": seed})
            print(f"{form}, seed {seed}: {seconds:.0f} s", file=sys.stderr, flush=True)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, jobs))
        found = {form: [examine(worlds[form == "dense_rows"], f"{form}-{seed}") for seed in seeds] for form in forms}
    return {form: {key: round(mean([v[key] for v in each]), 3) for key in each[0]} for form, each in found.items()}


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--full", action="store_true", help="three seeds, and the default without each of its parts")
    parser.add_argument("--seeds", type=int, default=0, help="seeds (default: 1, with --full 3)")
    parser.add_argument("--data", type=Path, help="folder with database/, knowledge_base/ and benchmarks/")
    options = parser.parse_args()
    start = time.monotonic()
    seeds = list(range(1, 1 + (options.seeds or (3 if options.full else 1))))
    forms = FORMS | (PARTS if options.full else {})
    table = measure(options.data, forms, seeds)
    ours, dense = table["default"], table["dense"]
    summary = {
        "dense_bank_only": dense["bank_only"],
        "dense_rows_as_text_bank_only": table["dense_rows"]["bank_only"],
        "memory_bank_only": ours["bank_only"],
        "memory_inserted_after": ours["inserted"],
        "memory_in_text": ours["in_text"],
        "dense_in_text": dense["in_text"],
        "edit_success": ours["edit where read"],
        "edit_side_effects": ours["other answers changed"],
        "hit_rate": ours["bank_only hit"],
        "step_time_over_paper_form": round(step_ratio(settings()), 3),
    }
    rows = [{"form": form, **values} for form, values in table.items()]
    seconds = time.monotonic() - start
    result = {**summary, "seeds": len(seeds), "data": str(options.data or "sample v2"), "forms": rows}
    if options.json:
        print(json.dumps({**result, "seconds": round(seconds)}, indent=2))
    else:
        _show(rows, summary)


def _show(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Tables as Markdown."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row.get(column, "-")) for column in columns) + " |")
    print("\n" + "\n".join(f"- {name}: {value}" for name, value in summary.items()))


if __name__ == "__main__":
    main()
