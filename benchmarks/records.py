"""What many experiments cost: tables, comparisons, publishing one more, a report.

    python benchmarks/records.py --json

Whole processes, as a user starts them, in projects of made-up records with real git; medians of several rounds, the
kinds of command in turn. `publish` is that of a run without weights: what is measured is what grows with the number of
records, not the upload.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import REPOSITORY, report

sys.path.insert(0, str(REPOSITORY / "tests/support"))
import made_records

CPU = False
COMMANDS = {
    "table": ("compare",),
    "filter": ("compare", "--where", 'val_loss < 2.4 and status == "finished"', "--sort", "val_loss"),
    "pair": ("compare", "exp_00000", "exp_00001"),
    "seeds": ("compare", "exp_00000", "exp_00001", "--seeds", "5", "--json"),
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="processor seconds instead of seconds on the clock")
    arguments = parser.parse_args()
    global CPU
    CPU = arguments.cpu
    folder = Path(tempfile.mkdtemp(prefix="records-"))
    try:
        rows, numbers = measure(folder, arguments.rounds)
    finally:
        shutil.rmtree(folder)
    report("many records", {"whole_processes": rows}, numbers, arguments.json)


def measure(folder: Path, rounds: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """All measurements: rows for people, and the numbers that checks rely on."""
    start = statistics.median(timed(folder, "--version") for _ in range(rounds + 1))
    rows: list[dict[str, Any]] = [{"form": "start (--version)", "records": None, "first_s": None, "median_s": start}]
    numbers = {"cli_start_s": start}
    for count in (0, 1000, 10_000):
        root = project(folder / str(count), count)
        publish = [published(root, number) for number in range(rounds)]
        rows.append({"form": "publish", "records": count, "first_s": publish[0],
                     "median_s": statistics.median(publish)})  # fmt: skip
        numbers[f"publish_at_{count}_s"] = statistics.median(publish)
        if count == 0:
            continue
        taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
        shutil.rmtree(root / ".explicitlm", ignore_errors=True)
        first = {name: timed(root, *words) for name, words in COMMANDS.items()}
        for _ in range(rounds):
            for name, words in COMMANDS.items():
                taken[name].append(timed(root, *words))
        rows += [{"form": name, "records": count, "first_s": first[name], "median_s": statistics.median(times)}
                 for name, times in taken.items()]  # fmt: skip
        numbers[f"compare_{count}_s"] = max(statistics.median(times) for times in taken.values())
        numbers[f"compare_{count}_first_s"] = first["table"]
        if count == 1000:
            times = [timed(root, "report", "-o", str(folder / "report.html")) for _ in range(rounds)]
            numbers["report_1000_s"] = statistics.median(times)
            numbers["report_1000_mb"] = round((folder / "report.html").stat().st_size / 1e6, 2)
            rows.append({"form": "report", "records": count, "first_s": times[0], "median_s": numbers["report_1000_s"]})
    return rows, numbers


def timed(root: Path, *words: str) -> float:
    """Seconds of a whole process; with --cpu its processor seconds, on a machine that is busy with other things."""
    begin, spent = time.perf_counter(), _spent()
    subprocess.run([sys.executable, "-m", "explicitlm", *words], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return round(_spent() - spent if CPU else time.perf_counter() - begin, 4)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def published(root: Path, number: int) -> float:
    """Seconds to publish the record of one run more that failed."""
    made_records.write(root, made_records.made(f"late_{number}", status="failed", timestamp="2026-03-01T00:00:00Z"))
    return timed(root, "publish", f"late_{number}")


def project(root: Path, count: int) -> Path:
    """A git repository with committed records, each finished one with a tag whose commit holds its curves."""
    made_records.bare_project(root)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "Benchmark")
    git(root, "config", "user.email", "benchmark@example.org")
    (root / ".gitignore").write_text("/.explicitlm/\n")
    (root / ".dvc").mkdir()
    (root / ".dvc/config").touch()  # publishing asks DVC's settings
    records = made_records.many(count)
    made_records.write(root, *records)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "records")
    finished = [record["experiment"]["id"] for record in records if record["status"] == "finished"]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input=curves(finished).encode(), check=True)
    time.sleep(2.1)  # so that the files count as settled, as they do in a project that anybody works in
    return root


def curves(experiments: list[str]) -> str:
    """A stream for `git fast-import`: for each experiment a tagged commit with its curves."""
    parts = []
    for place, experiment in enumerate(experiments):
        train = "step,train/loss_ce\n" + "".join(
            f"{step},{3 - step / 200 + place % 7 / 50}\n" for step in range(1, 121)
        )
        val = "step,val/loss\n" + "".join(f"{step},{3 - step / 210 + place % 7 / 50}\n" for step in range(40, 121, 40))
        parts.append(f"commit refs/tags/{experiment}\ncommitter B <b@example.org> {1_760_000_000 + place} +0000\n"
                     "data 4\nmade\nfrom refs/heads/main^0\n")  # fmt: skip
        for name, text in (("train", train), ("val", val)):
            parts.append(f"M 100644 inline experiments/run/{name}.csv\ndata {len(text)}\n{text}\n")
    return "".join(parts)


def git(root: Path, *words: str) -> None:
    """Runs git."""
    subprocess.run(["git", *words], cwd=root, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
