"""What the phases of cluster training cost on top of the training: with next to nothing to transfer, and with 1 GB.

    python benchmarks/cluster.py [--json] [--gb 1.0] [--rounds 3]

A project with tiny data trains through all phases on this machine; the "compute node" is another folder, which rsync
fills as it would over ssh. The 1 GB lies beside the training text, in files that no training reads: it is versioned,
sealed, sent and checked like the rest, and leaves the training's own time as it is. What the training process takes
(its record says it) is taken off. The DVC remote is a local folder; it holds the data before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import REPOSITORY, report

SMALL = (
    "epochs=1", "dim=32", "n_layers=2", "n_heads=4", "n_kv_heads=2", "vocab_size=300", "max_seq_len=32",
    "knowledge_num=256", "knowledge_dim=16", "batch_size=512",
)  # fmt: skip
PHASES = ("pre", "push", "train, less its training", "fetch", "post")
FILES = 100  # that the bulk of the data is split in


class Cluster:
    """A clone with a little text (and `gb` of bulk beside it), and the folder that stands for the compute node."""

    def __init__(self, base: Path, gb: float) -> None:
        self.root, self.there = base / "project", base / "runs"
        self.env = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(base / "site"),
        }
        base.mkdir()
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(self.root)], check=True)
        for key, value in (("user.name", "benchmark"), ("user.email", "benchmark@example.org")):
            self.run("git", "config", key, value)
        self.run("git", "rm", "-q", "data/knowledge_base.dvc")
        for folder in ("data/database", "data/benchmarks"):
            (self.root / folder).mkdir()
            (self.root / folder / "text.jsonl").write_text('{"text": "a line of some words"}\n' * 500)
        if gb:
            _write_bulk(self.root / "data/database/bulk", gb)
        self.run("dvc", "add", "-q", "data/database", "data/benchmarks")
        self.run("git", "commit", "-qam", "data of the benchmark")
        self.run("dvc", "push", "-q", "data/database", "data/benchmarks")

    def experiment(self, name: str, seed: int) -> dict[str, float]:
        """Seconds of each phase of one experiment."""
        seconds = {
            "pre": self.run("explicitlm", "cluster", "pre", name, *SMALL, f"seed={seed}"),
            "push": self.run("explicitlm", "cluster", "push", name, str(self.there)),
        }
        whole = self.run("explicitlm", "cluster", "train", name, cwd=self.there)
        seconds["fetch"] = self.run("explicitlm", "cluster", "fetch", name, str(self.there))
        seconds["post"] = self.run("explicitlm", "cluster", "post", name)
        record = json.loads((self.root / f"experiments/records/{name}.json").read_text(encoding="utf-8"))
        return seconds | {"train, less its training": whole - float(record["timing"]["duration_s"])}

    def run(self, *words: str, cwd: Path | None = None) -> float:
        """Seconds of a command; its output only if it fails."""
        start = time.perf_counter()
        done = subprocess.run(list(words), cwd=cwd or self.root, env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
        return time.perf_counter() - start


def _write_bulk(folder: Path, gb: float) -> None:
    """Bytes that do not repeat."""
    folder.mkdir()
    piece = os.urandom(1 << 20)
    for index in range(FILES):
        with (folder / f"{index:03d}.bin").open("wb") as file:
            for number in range(int(gb * 1e9 / FILES) >> 20):
                file.write(index.to_bytes(8, "little") + number.to_bytes(8, "little") + piece[16:])


def measure(base: Path, gb: float, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by phase: of the first experiment, whose data is on its way for the first time, and of later ones."""
    cluster = Cluster(base, gb)
    first = cluster.experiment("exp_0", 0)
    later = [cluster.experiment(f"exp_{number}", number) for number in range(1, rounds + 1)]
    shutil.rmtree(base)
    return first, {phase: statistics.median(seconds[phase] for seconds in later) for phase in PHASES}


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--gb", type=float, default=1.0, help="data beside the training text (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="experiments after the first (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="explicitlm-bench-") as name:
        _, nothing = measure(Path(name) / "nothing", 0, options.rounds)
        first, again = measure(Path(name) / "bulk", options.gb, options.rounds)
    size = f"{options.gb:g} GB"
    rows: list[dict[str, Any]] = [
        {
            "form": phase,
            "nothing_to_transfer_s": nothing[phase],
            f"{size}_first_time_s": first[phase],
            f"{size}_again_s": again[phase],
        }
        for phase in PHASES
    ]
    numbers: dict[str, Any] = {
        f"{phase.split(',')[0]}_{what}_s": seconds[phase]
        for what, seconds in (("nothing", nothing), ("first", first), ("again", again))
        for phase in PHASES
    }
    report("cluster phases, seconds on top of the training", {"phases": rows}, {**numbers, "gb": options.gb},
           options.json)  # fmt: skip


if __name__ == "__main__":
    main()
