"""What one experiment costs on top of its training: our three stages against three that do nothing.

Both run by `dvc exp run` in projects of the same data and parameters, in turn, several rounds in one go. The training
is a stub that only writes its files (tests/support/stub_training.py), so that nothing is to be taken off. Also timed:
the same in isolation (--temp), publishing, `explicitlm --help`, and runs beside 100 and 500 published experiments.
Wall and CPU seconds of the whole process tree. Ratios are of wall seconds, those of pointers of CPU seconds; on a busy
machine only CPU seconds mean something. After --minutes no new round begins.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from _report import REPOSITORY, report
from stub_training import stub_training

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


POINTER = "outs:\n- md5: {}.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: {}\n"


class Cost(NamedTuple):
    """Seconds of a command and everything below it."""

    wall: float
    cpu: float


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind, of which the median counts")
    parser.add_argument("--minutes", type=float, default=8, help="after which no new round begins")
    options = parser.parse_args()
    load = os.getloadavg()[1]
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), options.rounds, time.monotonic() + 60 * options.minutes)
    middle = {
        what: Cost(*(statistics.median(cost[kind] for cost in costs) for kind in (0, 1)))
        for what, costs in times.items()
    }
    trivial, beside_none = middle["trivial"], middle["ours beside 0 published"]
    rows = [
        {
            "what": what,
            "wall s": round(cost.wall, 2),
            "CPU s": round(cost.cpu, 2),
            "wall over trivial": f"{cost.wall / trivial.wall:.2f}",
            "CPU over trivial": f"{cost.cpu / trivial.cpu:.2f}",
        }
        for what, cost in middle.items()
    ]
    numbers = {
        "exp_run_over_trivial_s": middle["ours"].wall - trivial.wall,
        "exp_run_over_trivial_ratio": middle["ours"].wall / trivial.wall,
        "exp_run_over_trivial_cpu_s": middle["ours"].cpu - trivial.cpu,
        "exp_run_over_trivial_cpu_ratio": middle["ours"].cpu / trivial.cpu,
        "temp_over_trivial_s": middle["ours with --temp"].wall - trivial.wall,
        "publish_s": middle["publish"].wall,
        "publish_cpu_s": middle["publish"].cpu,
        "pointers_100_over_0": middle["ours beside 100 published"].cpu / beside_none.cpu,
        "pointers_500_over_0": middle["ours beside 500 published"].cpu / beside_none.cpu,
        "help_s": middle["help"].wall,
        "help_cpu_s": middle["help"].cpu,
        "rounds": len(times["trivial"]),
        "load_before": load,
    }
    report("one experiment on top of its training", {"overhead": rows}, numbers, options.json)


def measure(folder: Path, rounds: int, until: float) -> dict[str, list[Cost]]:
    """Costs by kind of run, of at least one round; none begins after `until` (monotonic)."""
    commands = stub_training(folder / "stub")
    ours, plain = project(folder / "ours", commands), project(folder / "plain", commands)
    (plain / "dvc.yaml").write_text(TRIVIAL)
    run(plain, commands, "git", "commit", "-qam", "three trivial stages")
    crowded = {number: beside(ours, folder / f"crowded_{number}", commands, number) for number in (0, 100, 500)}
    times: dict[str, list[Cost]] = {}
    for number in range(rounds + 1):
        if times and time.monotonic() > until:
            break
        name, seed = f"exp_{number}", ["-S", f"seed={number}"]
        costs = {
            "trivial": run(plain, commands, "dvc", "exp", "run", "-n", name, *seed),
            "ours": run(ours, commands, "dvc", "exp", "run", "-n", name, *seed),
        }
        for published, place in crowded.items():
            costs[f"ours beside {published} published"] = run(place, commands, "dvc", "exp", "run", "-n", name, *seed)
        isolated = ["dvc", "exp", "run", "--temp", "-n", f"{name}_temp", "-S", f"seed={number + 1000}"]
        costs["ours with --temp"] = run(ours, commands, *isolated)
        costs["help"] = run(ours, commands, "explicitlm", "--help")
        # Last: it commits, so that the next round starts from another commit, and puts the workspace back
        costs["publish"] = run(ours, commands, "explicitlm", "publish", name)
        if number:  # the first round fills caches
            for kind, cost in costs.items():
                times.setdefault(kind, []).append(cost)
    return times


def project(folder: Path, commands: Path) -> Path:
    """A clone of this repository with the sample data."""
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(folder)], check=True)
    for key, value in (("user.name", "benchmark"), ("user.email", "benchmark@example.org")):
        run(folder, commands, "git", "config", key, value)
    run(folder, commands, "explicitlm", "sample-data")
    settle(folder, commands)
    return folder


def beside(source: Path, folder: Path, commands: Path, number: int) -> Path:
    """A copy of a project with the pointers and records of many published experiments in HEAD."""
    shutil.copytree(source, folder, symlinks=True)
    for index in range(number):
        name = f"published_{index}"
        (folder / f"experiments/checkpoints/{name}.dvc").write_text(POINTER.format(f"{index:032x}", name))
    run(folder, commands, "git", "add", "--force", "experiments/checkpoints")
    run(folder, commands, "git", "commit", "--allow-empty", "-qm", f"{number} experiments")
    settle(folder, commands)
    return folder


def settle(folder: Path, commands: Path) -> None:
    """Lets git note its files as they lie: those of the second of a commit are read again by every git after it."""
    time.sleep(1.1)
    run(folder, commands, "git", "status", "--porcelain")


def run(folder: Path, commands: Path, *words: str) -> Cost:
    """What a command costs; its output only if it fails."""
    env = os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
    }
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's shell keeps what Python compiles
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(list(words), cwd=folder, env=env, capture_output=True, text=True)
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
    return Cost(wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


if __name__ == "__main__":
    main()
