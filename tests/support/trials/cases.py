"""The cases of the campaign: which command, which fault, and which moments are looked for."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from trials import faults
from trials.faults import Around, Fault, Moment

# Moments at which something of an experiment is being put in its place
WORST = r"^(rename|link|remove) (?!home).*|^start git (commit-tree|update-ref|update-index|mktag|worktree)"
SOURCE = "project/src/explicitlm/lm/data/source.py"


@dataclass(frozen=True)
class Scenario:
    """A command of a user's, from the state before it to the published experiment after it.

    Attributes:
        state: of the project before. kind: how a training trains (stub or real). folder: where it is typed.
        words: the command. then: what follows until the experiment is published, each with its folder.
    """

    name: str
    state: str
    kind: str
    words: str
    then: tuple[tuple[str, str], ...] = ()
    folder: str = "project"


POST = ("project", "explicitlm cluster post x")
FETCH = ("project", "explicitlm cluster fetch x ../node")
TRAIN = ("node/x", "explicitlm cluster train x")
SCENARIOS = {
    each.name: each
    for each in (
        Scenario("run", "plain", "real", "explicitlm run x seed=7"),
        Scenario("tracked", "plain", "real", "explicitlm run x seed=7 use_swanlab=true swanlab_workspace=tester"),
        Scenario("exp", "plain", "real", "dvc exp run -n x -S seed=7", (("project", "explicitlm publish x"),)),
        Scenario("switch", "plain", "stub", "explicitlm run x seed=7 data.dataset=v1"),
        Scenario("pin", "plain", "stub", "dvc exp run -n x -S seed=7 -S data.dataset=v1",
                 (("project", "explicitlm publish x"),)),
        Scenario("publish", "trained", "stub", "explicitlm publish x"),
        Scenario("pre", "plain", "stub", "explicitlm cluster pre x seed=7",
                 (("project", "explicitlm cluster push x ../node"), TRAIN, FETCH, POST)),
        Scenario("push", "prepared", "stub", "explicitlm cluster push x ../node", (TRAIN, FETCH, POST)),
        Scenario("train", "pushed", "real", "explicitlm cluster train x", (FETCH, POST), "node/x"),
        Scenario("fetch", "sealed", "stub", "explicitlm cluster fetch x ../node", (POST,)),
        Scenario("post", "fetched", "stub", "explicitlm cluster post x"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A scenario with a fault.

    Attributes:
        moments: which moments are hit, as a regular expression; "" looks for none: the fault is there all the time.
        prepare: what is set up before. fault: what happens; it may need what was set up.
        weight: how often it is tried, in a campaign over all.
    """

    scenario: Scenario
    name: str
    fault: Callable[[Around], Fault]
    moments: str = "."
    prepare: Callable[[Around], object] = bool  # nothing
    weight: int = 1
    worst: bool = field(default=True)

    @property
    def title(self) -> str:
        """By which it is asked for."""
        return f"{self.scenario.name}/{self.name}"


def _nothing(moment: Moment) -> None:
    """The fault is in the surroundings."""


def _simple(fault: Fault) -> Callable[[Around], Fault]:
    return lambda _around: fault


def _cases() -> list[Case]:
    found: list[Case] = []

    def add(scenario: str, name: str, fault: Fault, weight: int = 1, **more: object) -> None:
        found.append(Case(SCENARIOS[scenario], name, _simple(fault), weight=weight, **more))  # type: ignore[arg-type]

    weights = {"run": 10, "exp": 8, "switch": 4, "pin": 6, "publish": 8, "pre": 5, "push": 2, "train": 6, "fetch": 2,
               "post": 8}  # fmt: skip
    for scenario, weight in weights.items():
        add(scenario, "kill", faults.kill, weight)
        if scenario not in ("push", "train", "fetch"):  # no git has a part in them
            add(scenario, "git", faults.inside_git, max(1, weight // 3), moments=r"^start git", worst=False)
        for number, group in ((signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGHUP, True)):
            add(scenario, number.name[3:].lower(), faults.told(number, group), max(1, weight // 3))
    for place in faults.PLACES:
        for scenario in ("run", "publish", "post", "exp", "switch"):
            if place in ("states", "logs", "tmp") and scenario == "publish":
                continue
            found.append(Case(SCENARIOS[scenario], f"full-{place}", _simple(faults.full(place)),
                              prepare=faults.on_a_disk(place)))  # fmt: skip
    stored = r"^(rename|link|write) explicitlm-storage"
    for scenario in ("publish", "post"):
        found.append(Case(SCENARIOS[scenario], "read-only-remote", _simple(faults.read_only("remote")), stored,
                          prepare=faults.on_a_disk("remote"), worst=False))  # fmt: skip
        add(scenario, "truncating", faults.damaged(faults.cut_short), moments=stored, worst=False)
        add(scenario, "corrupting", faults.damaged(faults.flipped), moments=stored, worst=False)
        found.append(Case(SCENARIOS[scenario], "s3-dies", faults.s3_dies, r"^start .*dvc push", prepare=faults.s3,
                          worst=False))  # fmt: skip
    for what in ("silence:/api", "500:/api", "500:/api/house"):
        name = "swanlab-" + what.replace(":/", "-").replace("/", "-")
        found.append(Case(SCENARIOS["tracked"], name, _simple(_nothing), "", prepare=faults.tracker(what)))
    people = {
        "commits": faults.commits,
        "edits-code": faults.edits("src/explicitlm/lm/data/source.py", "\n# the user's thought\n"),
        "edits-data": faults.edits("data/database/more.jsonl", '{"text": "the user wrote this"}\n'),
        "edits-params": faults.edits("params.yaml", "\n# the user's thought\n"),
        "switches": faults.switches_branch,
        "again": faults.again,
        "another": faults.another,
    }
    for scenario in ("run", "exp", "publish", "pre", "post"):
        for name, fault in people.items():
            if not (name == "another" and scenario == "exp"):
                add(scenario, name, fault)
    return found


CASES = {case.title: case for case in _cases()}
