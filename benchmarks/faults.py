"""Faults at random and at the worst moments, a user who follows the hints, and what is lost of it.

Each trial is named by its case and seed, such as `run/kill:12`, and can be run alone (`--only`). Its fault comes at a
moment that is counted and not clocked: before the k-th rename, removal, file opened or program started of all the
processes of a command, which stand still meanwhile. Then a user types what the hints say, and the verdict comes from
the disk (tests/support/trials/judge.py). Needs root for the disks that are full or read-only.

Results are appended to a file as they come; the same command goes on where it was stopped, and with --markdown prints
the table of faults.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from _report import report
from trials.cases import CASES, SCENARIOS
from trials.machine import Machine
from trials.trial import run_trial

VERDICTS = ("ok", "lost", "silent", "unclear", "unreached")


def main() -> None:
    """Runs what is not run yet, and reports all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="trials in all, those of the result file included")
    parser.add_argument("--seed", type=int, default=1, help="first seed of every case")
    parser.add_argument("--only", action="append", metavar="CASE[:SEED]", help="these alone; without a seed, as many "
                        "as --trials says")  # fmt: skip
    parser.add_argument("--results", type=Path, help="file of results, a JSON object a line; default: in --folder")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "explicitlm-faults",
                        help="environments and states of the machine; kept for the next campaign")  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path("/dev/shm/explicitlm-faults"),  # noqa: S108
                        help="folder of a trial, best on a disk in memory")  # fmt: skip
    parser.add_argument("--keep", type=Path, help="folder for the outputs of every trial that does not end well")
    parser.add_argument("--markdown", action="store_true", help="only the table of faults.md, of what is in the result "
                        "file; runs nothing")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    machine = Machine(arguments.folder.absolute(), arguments.work.absolute())
    path = arguments.results or machine.folder / "results.jsonl"
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if arguments.markdown:
        print(by_command_and_fault(done))
        return
    machine.folder.mkdir(parents=True, exist_ok=True)
    machine.make()
    for case, seed in chosen(arguments.only, arguments.trials, arguments.seed):
        if any((each["case"], each["seed"]) == (case, seed) for each in done):
            continue
        keep = arguments.keep and arguments.keep / f"{case.replace('/', '-')}-{seed}"
        result = tried(machine, case, seed, keep)
        done.append(result)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, ensure_ascii=False) + "\n")
        print(f"{case}:{seed} {result['verdict']} {result['seconds']} s {'; '.join(result['reasons'])}",
              file=sys.stderr, flush=True)  # fmt: skip
    told(done, arguments.json)


def tried(machine: Machine, case: str, seed: int, keep: Path | None) -> dict[str, Any]:
    """One trial; one that breaks itself is unclear, and does not end the campaign."""
    try:
        return run_trial(machine, CASES[case], seed, keep).as_dict()
    except Exception as error:
        reasons = [f"unclear: the trial itself broke: {error!r}"[:1000]]
        return {"case": case, "seed": seed, "verdict": "unclear", "reasons": reasons, "seconds": 0.0}


def chosen(only: list[str] | None, trials: int, first: int) -> list[tuple[str, int]]:
    """The trials of a campaign, in the order in which they are run: every case before any comes a second time."""
    if only:
        named = [each.partition(":") for each in only]
        return [(case, int(seed)) for case, _, seed in named if seed] + [
            (case, first + number) for case, _, seed in named if not seed for number in range(trials)
        ]
    rounds = max(case.weight for case in CASES.values())
    order: list[tuple[str, int]] = []
    for turn in range(rounds):
        titles = [title for title, case in CASES.items() if turn < case.weight]
        random.Random(first + turn).shuffle(titles)
        order += [(title, first + turn) for title in titles]
    return order[:trials]


def by_command_and_fault(done: list[dict[str, Any]]) -> str:
    """The table of faults.md: a row a fault, a column a command, and under it the trials that did not end well."""
    commands = list(SCENARIOS)
    cells: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: {command: Counter() for command in commands})
    for each in done:
        command, _, fault = each["case"].partition("/")
        cells[fault][command][each["verdict"]] += 1
    total = Counter(each["verdict"] for each in done)
    counted = ", ".join(f"{total[verdict]} {verdict}" for verdict in VERDICTS[:-1])
    lines = [f"{len(done) - total['unreached']} faults: {counted}; {total['unreached']} moments did not come", "",
             f"| fault | {' | '.join(commands)} |", "| --- |" + " --- |" * len(commands)]  # fmt: skip
    for fault, row in sorted(cells.items()):
        ended = [", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict])
                 for count in row.values()]  # fmt: skip
        lines.append(f"| {fault} | {' | '.join(ended)} |")
    bad = [f"- `{each['case']}:{each['seed']}` ({each.get('moment') or 'all the time'}): {'; '.join(each['reasons'])}"
           for each in done if each["verdict"] not in ("ok", "unreached")]  # fmt: skip
    return "\n".join([*lines, *([""] if bad else []), *bad])


def told(done: list[dict[str, Any]], as_json: bool) -> None:
    """The table by case, and what did not end well."""
    rows = []
    for title in CASES:
        counts = Counter(each["verdict"] for each in done if each["case"] == title)
        if counts:
            rows.append({"case": title} | {verdict: counts[verdict] or None for verdict in VERDICTS})
    bad = [each for each in done if each["verdict"] not in ("ok", "unreached")]
    findings = [{"trial": f"{each['case']}:{each['seed']}", "reasons": "; ".join(each["reasons"])} for each in bad]
    total = Counter(each["verdict"] for each in done)
    numbers = {"faults": len(done) - total["unreached"]} | {verdict: total[verdict] for verdict in VERDICTS}
    tables = {"by case": rows} | ({"findings": findings} if findings else {})
    report("Faults", tables, numbers, as_json)


if __name__ == "__main__":
    main()
