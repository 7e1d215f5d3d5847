"""What one experiment costs on top of its training: our three stages against three that do nothing.

Both run by `dvc exp run` in projects of the same data and parameters, in turn, several rounds in one go; the training's
own seconds (its record says them) are taken off. Also timed: the same in isolation (--temp) and publishing.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _report import REPOSITORY, report

SMALL = (
    "epochs=1", "dim=32", "n_layers=2", "n_heads=4", "n_kv_heads=2", "vocab_size=300", "max_seq_len=32",
    "knowledge_num=256", "knowledge_dim=16", "batch_size=512",
)  # fmt: skip
TRIVIAL = """stages:
  sync_data:
    cmd: mkdir -p out && echo data > out/data
    always_changed: true
    outs: [out/data: {cache: false}]
  train:
    cmd: mkdir -p checkpoints/run && cp out/data checkpoints/run/model
    deps: [data/database, data/benchmarks, out/data]
    params: [seed]
    outs: [checkpoints/run]
  record:
    cmd: test -f checkpoints/run/model
    always_changed: true
    deps: [checkpoints/run]
"""


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind, of which the median counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), options.rounds)
    trivial = statistics.median(times["trivial"])
    rows = [
        {"what": what, "seconds": round(statistics.median(values), 2), "over trivial stages": ratio(values, trivial)}
        for what, values in times.items()
    ]
    numbers = {
        "trivial_s": trivial,
        "overhead_s": statistics.median(times["ours, less its training"]),
        "overhead_over_trivial": statistics.median(times["ours, less its training"]) / trivial,
        "publish_s": statistics.median(times["publish"]),
    }
    report("one experiment on top of its training", {"overhead": rows}, numbers, options.json)


def ratio(values: list[float], trivial: float) -> str:
    """How many times the trivial run, for the table."""
    return f"{statistics.median(values) / trivial:.1f}"


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds by kind of run."""
    ours, plain = project(folder / "ours"), project(folder / "plain")
    (plain / "dvc.yaml").write_text(TRIVIAL)
    run(plain, "git", "commit", "-qam", "three trivial stages")
    times: dict[str, list[float]] = {
        "trivial": [], "ours, less its training": [], "ours with --temp, less its training": [], "publish": [],
    }  # fmt: skip
    for number in range(rounds + 1):
        name = f"exp_{number}"
        overrides = [word for pair in (*SMALL, f"seed={number}") for word in ("-S", pair)]
        seconds = {"trivial": run(plain, "dvc", "exp", "run", "-n", name, "-S", f"seed={number}")}
        whole = run(ours, "dvc", "exp", "run", "-n", name, *overrides)
        seconds["ours, less its training"] = whole - training(ours, name)
        seconds["publish"] = run(ours, "explicitlm", "publish", name)
        isolated = [*overrides, "-S", f"seed={number + 1000}"]
        whole = run(ours, "dvc", "exp", "run", "--temp", "-n", f"{name}_temp", *isolated)
        run(ours, "explicitlm", "publish", f"{name}_temp")
        seconds["ours with --temp, less its training"] = whole - training(ours, f"{name}_temp")
        if number:  # the first round fills caches
            for kind, value in seconds.items():
                times[kind].append(value)
    return times


def project(folder: Path) -> Path:
    """A clone of this repository with the sample data."""
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(folder)], check=True)
    for key, value in (("user.name", "benchmark"), ("user.email", "benchmark@example.org")):
        run(folder, "git", "config", key, value)
    run(folder, "explicitlm", "sample-data")
    return folder


def training(folder: Path, name: str) -> float:
    """Seconds of the training process alone, as its record has them."""
    record = json.loads((folder / f"experiments/records/{name}.json").read_text(encoding="utf-8"))
    return float(record["timing"]["duration_s"])


def run(folder: Path, *words: str) -> float:
    """Seconds of a command; its output only if it fails."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
    }
    start = time.perf_counter()
    done = subprocess.run(list(words), cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
