"""The cases of the campaign: which command, which fault, and which moments are looked for."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trials import faults
from trials.faults import Around, Fault

# Moments at which something of an experiment is being put in its place
WORST = r"^(rename|link|remove) (?!home).*|^start git (commit-tree|update-ref|update-index|mktag|worktree)"


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
        prepare: what is set up before. fault: what happens.
        weight: how often it is tried, in a campaign over all. worst: whether odd seeds look for the worst moments.
    """

    scenario: Scenario
    name: str
    fault: Fault
    moments: str = "."
    prepare: Callable[[Around], object] = bool  # nothing
    weight: int = 1
    worst: bool = True

    @property
    def title(self) -> str:
        """By which it is asked for."""
        return f"{self.scenario.name}/{self.name}"


def _processes() -> Iterator[Case]:
    """Kills and signals, of every command."""
    weights = {"run": 10, "exp": 8, "switch": 4, "pin": 6, "publish": 8, "pre": 5, "push": 2, "train": 6, "fetch": 2,
               "post": 8}  # fmt: skip
    for name, weight in weights.items():
        scenario, less = SCENARIOS[name], max(1, weight // 3)
        yield Case(scenario, "kill", faults.kill, weight=weight)
        if name not in ("push", "train", "fetch"):  # no git has a part in them
            yield Case(scenario, "git", faults.inside_git, "^start git", weight=less, worst=False)
        for number, group in ((signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGHUP, True)):
            yield Case(scenario, number.name[3:].lower(), faults.told(number, group), weight=less)


def _surroundings() -> Iterator[Case]:
    """Disks, stores and servers."""
    for place in faults.PLACES:
        for name in ("run", "publish", "post", "exp", "switch"):
            if name != "publish" or place not in ("states", "logs", "tmp"):  # it has nothing to do with those
                yield Case(SCENARIOS[name], f"full-{place}", faults.full(place), prepare=faults.on_a_disk(place))
    stored = "^(rename|link|write) explicitlm-storage"
    for scenario in (SCENARIOS["publish"], SCENARIOS["post"]):
        yield Case(scenario, "read-only-remote", faults.read_only("remote"), stored, faults.on_a_disk("remote"),
                   worst=False)  # fmt: skip
        yield Case(scenario, "truncating", faults.damaged(faults.cut_short), stored, worst=False)
        yield Case(scenario, "corrupting", faults.damaged(faults.flipped), stored, worst=False)
        yield Case(scenario, "s3-dies", faults.s3_dies, "", faults.s3, worst=False)
    for what in ("silence:/api", "500:/api", "500:/api/house"):
        name = "swanlab-" + what.replace(":/", "-").replace("/", "-")
        yield Case(SCENARIOS["tracked"], name, faults.nothing, "", faults.tracker(what))


def _people() -> Iterator[Case]:
    """The user works on, and others work too."""
    doing = {
        "commits": faults.commits,
        "edits-code": faults.edits("src/explicitlm/lm/data/source.py", "\n# the user's thought\n"),
        "edits-data": faults.edits("data/database/more.jsonl", '{"text": "the user wrote this"}\n'),
        "edits-params": faults.edits("params.yaml", "\n# the user's thought\n"),
        "switches": faults.switches_branch,
        "again": faults.again,
        "another": faults.another,
    }
    for scenario in ("run", "exp", "publish", "pre", "post"):
        for name, fault in doing.items():
            if (scenario, name) != ("exp", "another"):  # a plain run has the checkout for itself
                yield Case(SCENARIOS[scenario], name, fault)


CASES = {case.title: case for case in (*_processes(), *_surroundings(), *_people())}
