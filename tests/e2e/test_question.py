"""A question asked, trained and answered, and its seeds queued, with the commands a user types."""

from __future__ import annotations

import json

import pytest


@pytest.mark.hint("explicitlm compare {} {} --seeds {} --run")
@pytest.mark.hint("dvc queue start -j 2; when they are done: explicitlm publish {}")
def test_asked_trained_answered(warm) -> None:
    warm.explicitlm("run", "base", "seed=1")
    before = warm.snapshot()
    refused = warm.explicitlm("run", "new", "--against", "base", "--expect", "val_lss < 0", check=False)
    assert refused.returncode == 2
    assert "no experiment has 'val_lss'" in refused.stderr
    assert "next: did you mean val_loss or" in refused.stderr
    assert warm.snapshot() == before

    words = ("--against", "base", "--expect", "val_loss < 100 and train_loss < 100", "-m", "twice the rate")
    said = warm.explicitlm("run", "new", *words, "seed=1", "learning_rate=4e-3")
    assert "against base: learning_rate: 0.002 -> 0.004" in said.stdout
    assert "changes against base" not in said.stdout  # one change needs no warning
    record = warm.record("new")
    assert record["outcome"]["verdict"] == "held"
    assert record["outcome"]["changes"] == ["learning_rate: 0.002 -> 0.004"]
    ours, theirs = record["results"]["metrics"], warm.record("base")["results"]["metrics"]
    assert record["outcome"]["differences"]["val_loss"] == [
        theirs["val_loss"], ours["val_loss"], ours["val_loss"] - theirs["val_loss"],
    ]  # fmt: skip
    assert "outcome: expected val_loss < 100 and train_loss < 100 against base: held" in said.stdout

    warm.explicitlm("conclude", "new", "faster is better")
    assert warm.record("new")["conclusion"] == "faster is better"
    assert warm.git("status", "--porcelain", "experiments") == ""
    warm.explicitlm("publish", "new")
    assert warm.record("new")["conclusion"] == "faster is better"

    told = warm.explicitlm("compare", "base", "new").stdout
    assert "learning_rate: 0.002 -> 0.004" in told and "code: equal" in told and "data: equal" in told
    answers = warm.record("new")["results"]["items"]["md5"]
    (warm.root / ".dvc/cache/files/md5" / answers[:2] / answers[2:]).unlink()  # the remote has it
    facts = json.loads(warm.explicitlm("compare", "base", "new", "--facts", "--json").stdout)
    task = facts["tasks"]["object_prediction"]
    assert task["items"] == 8 and task["right_after"] / 8 == ours["acc_object_prediction"]
    assert task["right_before"] / 8 == theirs["acc_object_prediction"]
    found = json.loads(warm.explicitlm("compare", "base", "new", "--seeds", "2", "--json").stdout)
    assert found["metrics"]["val_loss"]["verdict"] == "too_few"
    assert found["metrics"]["val_loss"]["pairs"] == 1
    assert [(item["id"], item["seed"]) for item in found["missing"]] == [("base_seed2", 2), ("new_seed2", 2)]
    queued = warm.explicitlm("compare", "base", "new", "--seeds", "2", "--run").stdout
    assert "queued: new_seed2 (as new, seed=2)" in queued
    waiting = json.loads(warm.explicitlm("ps", "--json").stdout)["runs"]
    assert [(run["id"], run["state"]) for run in waiting] == [("base_seed2", "queued"), ("new_seed2", "queued")]
    warm.dvc("queue", "start")
    warm.dvc("queue", "logs", "--follow", "new_seed2", check=False)  # waits for its end
    warm.dvc("queue", "logs", "--follow", "base_seed2", check=False)
    assert warm.explicitlm("ps").stdout == "no run is under way\n"
    warm.explicitlm("publish", "base_seed2", "new_seed2")
    found = json.loads(warm.explicitlm("compare", "base", "new", "--seeds", "2", "--json").stdout)
    assert found["metrics"]["val_loss"]["pairs"] == 2
    assert found["missing"] == []


def test_the_whole_projects_baseline(warm) -> None:
    warm.explicitlm("run", "base")
    warm.set_params(against="base", expect="val_loss < -100")
    warm.commit("chore: base is the baseline", "params.yaml")
    said = warm.dvc("exp", "run", "--temp", "-n", "next", "-S", "dropout=0.1", "-S", "seed=3").stdout
    assert "WARNING: 2 changes against base" in said
    warm.explicitlm("publish", "next")
    assert warm.record("next")["outcome"]["verdict"] == "not_held"
