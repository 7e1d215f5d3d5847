"""Whether the memory helps: accuracy on facts in the text, only in the bank, and inserted after training.

    python benchmarks/knowledge.py                      # the sample, two seeds: within 10 minutes on 2 cores
    python benchmarks/knowledge.py --json
    python benchmarks/knowledge.py --full --out FILE    # the campaign; goes on with what FILE does not hold yet
    python benchmarks/knowledge.py --full --out FILE --world FOLDER    # also other data: database/, knowledge_base/,
                                                                       # benchmarks/
    python benchmarks/knowledge.py --table --out FILE   # the table of what FILE holds

Every form is trained by 1_pretrain.py's code with the values of params.yaml, one thread a training; a choice among four
objects of the same predicate is right by chance in 25 of 100 cases. Dense models see the same text; "dense, rows as
text" also gets the bank's sentences as text, half of them with another's object, 1/8 more tokens, as the default form
reads aloud. FILE has one JSON line a training, known by form, world, passes over the text, rows of the bank and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from _knowledge_cell import mean, settings
from _knowledge_parts import FORMS, PARTS
from _report import origin

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.model import ExplicitLM

ROOT = Path(__file__).parents[1]
KEYS = ("form", "world", "passes", "rows", "seed")
SEEDS = (1, 2, 3)
ROWS, MANY_ROWS = 4096, 65536
PASSES = {"sample": (3, 1, 9), "other": (14, 7, 28)}  # over the text; the first is the main amount
COLUMNS = (
    "in_text",
    "in_text greedy",
    "bank_only",
    "bank_only greedy",
    "inserted",
    "inserted greedy",
    "in_text hit",
    "bank_only hit",
    "inserted hit",
    "edit where read",
    "edit all",
    "other answers changed",
    "relation_reasoning",
    "fact_verification",
)


def campaign(other: Path | None) -> Iterator[dict[str, Any]]:
    """All trainings of `--full`, the most important first."""
    worlds = ["sample"] + ([str(other)] if other else [])
    main = {world: PASSES["sample" if world == "sample" else "other"][0] for world in worlds}
    for world in worlds:
        for form in FORMS:
            yield from (_cell(form, world, main[world], ROWS, seed) for seed in SEEDS)
    yield from (_cell(form, "sample", main["sample"], ROWS, 1) for form in PARTS)
    yield _cell("default", "sample", main["sample"], MANY_ROWS, 1)
    for world in worlds:
        for passes in PASSES["sample" if world == "sample" else "other"][1:]:
            yield from (_cell(form, world, passes, ROWS, 1) for form in ("default", "dense"))
    yield from (_cell(form, "sample", main["sample"], ROWS, seed) for seed in SEEDS[1:] for form in PARTS)


def _cell(form: str, world: str, passes: int, rows: int, seed: int) -> dict[str, Any]:
    return dict(zip(KEYS, (form, world, passes, rows, seed), strict=True))


def train(cell: dict[str, Any]) -> dict[str, Any]:
    """Trains and examines one form in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/_knowledge_cell.py"), json.dumps(cell)],
        env={**os.environ, "EXPLICITLM_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{cell}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{cell}: {found['cpu_seconds']} CPU seconds", file=sys.stderr, flush=True)
    return found


def read(path: Path) -> list[dict[str, Any]]:
    """The trainings that a file holds."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def go_on(path: Path, cells: Iterator[dict[str, Any]]) -> None:
    """Runs what the file does not hold yet, one after another, and adds each as it ends."""
    held = {tuple(found[key] for key in KEYS) for found in read(path)}
    for cell in cells:
        if tuple(cell.values()) not in held:
            found = train(cell)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")


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


def short(seeds: int) -> dict[str, Any]:
    """The default beside both dense models on the sample: what is promised of it, means over seeds."""
    forms = ("default", "dense", "dense, rows as text")
    cells = [_cell(form, "sample", PASSES["sample"][0], ROWS, seed) for seed in SEEDS[:seeds] for form in forms]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(train, cells))
    means = {form: _means([each for each in found if each["form"] == form]) for form in forms}
    ours, dense, rows = (means[form] for form in forms)
    return {
        "dense_bank_only": dense["bank_only"],
        "dense_rows_as_text_bank_only": rows["bank_only"],
        "memory_bank_only": ours["bank_only"],
        "memory_inserted_after": ours["inserted"],
        "memory_in_text": ours["in_text"],
        "dense_in_text": dense["in_text"],
        "edit_success": ours["edit where read"],
        "edit_side_effects": ours["other answers changed"],
        "hit_rate": ours["bank_only hit"],
        "step_time_over_paper_form": round(step_ratio(settings()), 3),
        "seeds": seeds,
    }


def _means(found: list[dict[str, Any]]) -> dict[str, float]:
    return {key: round(mean([each[key] for each in found]), 3) for key in COLUMNS if key in found[0]}


def table(found: list[dict[str, Any]]) -> str:
    """Means over seeds as Markdown, one line a form, world, amount of text and size of the bank."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for each in found:
        world = "sample" if each["world"] == "sample" else Path(each["world"]).name
        cells[world, each["passes"], each["rows"], each["form"]].append(each)
    heads = ("world", "passes", "N", "form", "n", "steps", *COLUMNS)
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for key, group in cells.items():
        means = _means(group)
        shown = [f"{means[name]:.3f}" if means.get(name, -1) >= 0 else "-" for name in COLUMNS]
        lines.append("| " + " | ".join(map(str, (*key, len(group), group[0]["steps"], *shown))) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--seeds", type=int, default=2, choices=range(1, 4), help="of the short form")
    parser.add_argument("--full", action="store_true", help="every form, amount of text and part, into --out")
    parser.add_argument("--table", action="store_true", help="the table of --out, nothing is trained")
    parser.add_argument("--out", type=Path, default=Path("knowledge.jsonl"), help="one JSON line a training")
    parser.add_argument("--world", type=Path, help="also other data: a folder with database/ and the others")
    parser.add_argument("--forms", nargs="+", choices=[*FORMS, *PARTS], help="only these forms of --full")
    options = parser.parse_args()
    if options.full:
        go_on(
            options.out, (cell for cell in campaign(options.world) if cell["form"] in (options.forms or cell.values()))
        )
    if options.full or options.table:
        print(table(read(options.out)))
        return
    start = time.monotonic()
    numbers = short(options.seeds) | {"seconds": round(time.monotonic() - start)}
    print(
        json.dumps({**origin(), **numbers}, indent=2)
        if options.json
        else "\n".join(f"{k}: {v}" for k, v in numbers.items())
    )


if __name__ == "__main__":
    main()
