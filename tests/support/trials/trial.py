"""One trial: the state before, the command, the fault at its moment, the user, the verdict."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trials.cases import WORST, Case, Scenario
from trials.faults import Around, Moment, processes
from trials.judge import Before, is_published, judge, published, seen
from trials.machine import Machine
from trials.user import User, wait_until

ENDS_S = 240  # a command that takes longer hangs
SETTLES_S = 90


@dataclass
class Result:
    """What is written down of a trial.

    Attributes:
        case, seed: its name. verdict, reasons: of the judge; "unreached" where the moment never came.
        moment: at which the fault came. happened: what the fault did. typed: the user's commands with exit codes.
        seconds: of the whole trial.
    """

    case: str
    seed: int
    verdict: str
    reasons: list[str]
    moment: str
    happened: list[str]
    typed: list[str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For the result file."""
        return asdict(self)


def run_trial(machine: Machine, case: Case, seed: int, keep: Path | None = None) -> Result:
    """Runs a trial.

    Args:
        machine: where. case, seed: which. keep: folder that receives the trial's outputs.
    """
    begin, scenario = time.monotonic(), case.scenario
    known = reference(machine, scenario)
    rng = random.Random(f"{case.title}:{seed}")
    machine.restore(scenario.state, scenario.kind)
    box = machine.box(scenario.kind)
    with ExitStack() as stack:
        stack.callback(_end_all, machine.work)
        around = Around(stack, machine.work, box)
        case.prepare(around)
        box.env.update(around.environment)
        pattern, number = _moment(case, known["moments"], rng, seed)
        command = _Command(machine, scenario, pattern, number, around.environment)
        moment = Moment(around, command.process, scenario.words, {}, rng, Before(), command.go)
        if case.moments:
            wait_until(lambda: command.at is not None or command.process.poll() is not None, ENDS_S)
            moment.at = command.at or {}
        moment.before = seen(box, machine.work)
        if moment.at or not case.moments:
            case.fault(moment)
        command.go()
        hangs = not wait_until(lambda: command.process.poll() is not None, ENDS_S)
        output = command.output()
        user = User(box, lambda: wait_until(lambda: not processes(machine.work), SETTLES_S), lambda: _free(around))
        reached = not hangs and _to_the_end(user, machine, scenario, command.process.returncode, output)
        said = [output, *(each.output for each in user.said)]
        found = judge(box, machine.work, moment.before, known["record"], reached, said)
        if hangs:
            found.find("unclear", "it hangs")
        for told in moment.told:
            if told.startswith("unclear: "):
                found.find("unclear", told.removeprefix("unclear: "))
        if keep is not None:
            _keep(keep, command, user)
    verdict = found.verdict if moment.at or not case.moments or found.verdict != "ok" else "unreached"
    return Result(
        case.title, seed, verdict, found.reasons, moment.at.get("moment", ""),
        moment.told, [f"{each.words} -> {each.code}" for each in user.said], round(time.monotonic() - begin, 1),
    )  # fmt: skip


def reference(machine: Machine, scenario: Scenario) -> dict[str, Any]:
    """The scenario without a fault, run once: its record, and the moments that its command has."""
    memo = machine.folder / f"reference-{scenario.name}.json"
    if not memo.exists():
        machine.restore(scenario.state, scenario.kind)
        box = machine.box(scenario.kind)
        environment = {"SWANLAB_MODE": "offline"} if scenario.name == "tracked" else {}
        command = _Command(machine, scenario, ".", 0, environment)
        code = command.process.wait(ENDS_S)
        user = User(box, lambda: True, lambda: None, patience=len(scenario.then))
        if code or not _to_the_end(user, machine, scenario, code, command.output()) or not is_published(box):
            raise RuntimeError(f"{scenario.name} fails without a fault:\n{command.output()}\n{user.said}")
        moments = [line.split(" ", 1)[1] for line in (command.folder / "moments").read_text().splitlines()]
        memo.write_text(json.dumps({"record": published(box), "moments": moments}))
    found: dict[str, Any] = json.loads(memo.read_text())
    return found


class _Command:
    """The command under the fault, started as a terminal does."""

    def __init__(
        self, machine: Machine, scenario: Scenario, pattern: str, number: int, environment: dict[str, str]
    ) -> None:
        self.folder = machine.folder / "trial"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        plan = {"moment": pattern, "number": number}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        box = machine.box(scenario.kind, scenario.folder, FAULTS=str(self.folder), **environment)
        with (self.folder / "output").open("wb") as out:
            self.process = subprocess.Popen(
                scenario.words.split(), cwd=box.root, env=box.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    @property
    def at(self) -> dict[str, Any] | None:
        """Which process stands still at which moment; None while none does."""
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.folder / "at.json").read_text())
            return found
        return None

    def go(self) -> None:
        """Lets it go on."""
        (self.folder / "go").touch()

    def output(self) -> str:
        """What it printed."""
        return (self.folder / "output").read_text(errors="replace")


def _moment(case: Case, moments: list[str], rng: random.Random, seed: int) -> tuple[str, int]:
    """Which moment is hit: of odd seeds one of the worst, at which something is being put in its place."""
    pattern = WORST if case.worst and seed % 2 and case.moments else case.moments or "."
    fitting = sum(bool(re.search(pattern, moment)) for moment in moments)
    return pattern, rng.randint(1, max(1, fitting)) if case.moments else 10**9


def _to_the_end(user: User, machine: Machine, scenario: Scenario, code: int | None, output: str) -> bool:
    """The user goes on from the command's end until the experiment is published."""
    home = user.box
    todo = [(scenario.folder, scenario.words), *scenario.then]
    for number, (folder, words) in enumerate(todo):
        if number == 0 and code == 0:
            continue
        if number and is_published(home):
            return True
        user.box = machine.box(scenario.kind, folder)
        user.box.env.update(home.env)
        told = output if number == 0 else None
        if not user.reach(words, told, lambda: is_published(home)):
            return False
    return True


def _free(around: Around) -> None:
    for repair in around.repairs:
        repair()


def _end_all(work: Path) -> None:
    """Ends what a trial left running."""
    for process in processes(work):
        with suppress(Exception):
            process.kill()
    wait_until(lambda: not processes(work), 10)


def _keep(folder: Path, command: _Command, user: User) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(command.folder / "output", folder / "0.txt")
    for number, each in enumerate(user.said, 1):
        (folder / f"{number}.txt").write_text(f"$ {each.words}\n{each.output}\n-> {each.code}\n")
