"""A few trials of the campaign (benchmarks/faults.py): faults at counted moments, a user who follows the hints."""

from __future__ import annotations

import os

import pytest
from trials.cases import CASES
from trials.machine import Machine
from trials.trial import run_trial
from trials.user import steps


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with nothing on it yet."""
    folder = tmp_path_factory.mktemp("machine")
    made = Machine(folder / "machine", folder / "work")
    made.folder.mkdir()
    made.make()
    return made


@pytest.mark.parametrize(
    "name", ["publish/kill:2", "publish/corrupting:1", "publish/full-remote:1", "switch/kill:3", "switch/full-git:1"]
)
def test_nothing_is_lost_and_nothing_is_silent(machine: Machine, name: str) -> None:
    case, _, seed = name.partition(":")
    if "full" in case and os.geteuid() != 0:
        pytest.skip("a disk of its own needs root")
    result = run_trial(machine, CASES[case], int(seed))
    assert result.verdict in ("ok", "unreached"), result


@pytest.mark.parametrize(
    ("hint", "done"),
    [
        ("explicitlm run x --resume; or explicitlm publish x keeps the record", ["explicitlm run x --resume"]),
        ("wait for it (tail -f logs/x.log), or end it: kill 12", ["wait"]),
        ("df -h /a; free space there, then the same command", ["df -h /a", "same"]),
        ("rm -f '/a b/.git/index.lock' (no git is at work here), then the same command",
         ["rm -f '/a b/.git/index.lock'", "same"]),
        ("choose another id (the used ones: git tag); or put it aside: mkdir -p a && mv x a/",
         ["mkdir -p a && mv x a/", "same"]),
        ("explicitlm publish x, if that is the one; else choose another id", ["explicitlm publish x"]),
    ],
)  # fmt: skip
def test_what_the_user_of_a_trial_makes_of_a_hint(hint: str, done: list[str]) -> None:
    assert steps(hint) == done
