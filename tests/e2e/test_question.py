"""A question asked, trained and answered, and its seeds queued, with the commands a user types."""

from __future__ import annotations

import json

import pytest


@pytest.mark.hint("explicitlm compare {} {} --seeds {} --run")
@pytest.mark.hint("dvc queue start -j 2; when they are done: explicitlm publish {}")
def test_asked_trained_answered(project) -> None:
    project.explicitlm("run", "base", "seed=1")
    before = project.snapshot()
    refused = project.explicitlm("run", "new", "--against", "base", "--expect", "val_lss < 0", check=False)
    assert refused.returncode == 2
    assert "no experiment has 'val_lss'" in refused.stderr
    assert "next: did you mean val_loss or" in refused.stderr
    assert project.snapshot() == before

    words = ("--against", "base", "--expect", "val_loss < 100 and train_loss < 100", "-m", "twice the rate")
    said = project.explicitlm("run", "new", *words, "seed=1", "learning_rate=4e-3")
    assert "against base: learning_rate: 0.002 -> 0.004" in said.stdout
    assert "changes against base" not in said.stdout  # one change needs no warning
    record = project.record("new")
    assert record["outcome"]["verdict"] == "held"
    assert record["outcome"]["changes"] == ["learning_rate: 0.002 -> 0.004"]
    ours, theirs = record["results"]["metrics"], project.record("base")["results"]["metrics"]
    assert record["outcome"]["differences"]["val_loss"] == [
        theirs["val_loss"], ours["val_loss"], ours["val_loss"] - theirs["val_loss"],
    ]  # fmt: skip
    assert "outcome: expected val_loss < 100 and train_loss < 100 against base: held" in said.stdout

    project.explicitlm("conclude", "new", "faster is better")
    assert project.record("new")["conclusion"] == "faster is better"
    assert project.git("status", "--porcelain", "experiments") == ""
    project.explicitlm("publish", "new")
    assert project.record("new")["conclusion"] == "faster is better"

    told = project.explicitlm("compare", "base", "new").stdout
    assert "learning_rate: 0.002 -> 0.004" in told and "code: equal" in told and "data: equal" in told
    answers = project.record("new")["results"]["items"]["md5"]
    (project.root / ".dvc/cache/files/md5" / answers[:2] / answers[2:]).unlink()  # the remote has it
    facts = json.loads(project.explicitlm("compare", "base", "new", "--facts", "--json").stdout)
    task = facts["tasks"]["object_prediction"]
    assert task["items"] == 8 and task["right_after"] / 8 == ours["acc_object_prediction"]
    assert task["right_before"] / 8 == theirs["acc_object_prediction"]
    found = json.loads(project.explicitlm("compare", "base", "new", "--seeds", "2", "--json").stdout)
    assert found["metrics"]["val_loss"]["verdict"] == "too_few"
    assert found["metrics"]["val_loss"]["pairs"] == 1
    assert [(item["id"], item["seed"]) for item in found["missing"]] == [("base_seed2", 2), ("new_seed2", 2)]
    queued = project.explicitlm("compare", "base", "new", "--seeds", "2", "--run").stdout
    assert "queued: new_seed2 (as new, seed=2)" in queued
    waiting = json.loads(project.explicitlm("ps", "--json").stdout)["runs"]
    assert [(run["id"], run["state"]) for run in waiting] == [("base_seed2", "queued"), ("new_seed2", "queued")]
    project.dvc("queue", "start")
    project.dvc("queue", "logs", "--follow", "new_seed2", check=False)  # waits for its end
    project.dvc("queue", "logs", "--follow", "base_seed2", check=False)
    assert project.explicitlm("ps").stdout == "no run is under way\n"
    project.explicitlm("publish", "base_seed2", "new_seed2")
    found = json.loads(project.explicitlm("compare", "base", "new", "--seeds", "2", "--json").stdout)
    assert found["metrics"]["val_loss"]["pairs"] == 2
    assert found["missing"] == []


def test_the_whole_projects_baseline(project) -> None:
    project.explicitlm("run", "base")
    project.set_params(against="base", expect="val_loss < -100")
    project.commit("chore: base is the baseline", "params.yaml")
    said = project.dvc("exp", "run", "--temp", "-n", "next", "-S", "dropout=0.1", "-S", "seed=3").stdout
    assert "WARNING: 2 changes against base" in said
    project.explicitlm("publish", "next")
    assert project.record("next")["outcome"]["verdict"] == "not_held"
