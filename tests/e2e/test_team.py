"""Everyday commands in a team: used workspaces, many published experiments, two people who publish at the same time.

The trainings are stubs (see stub_training); git, DVC, the stages and the commands are real.
"""

from __future__ import annotations

import json
import shutil

import pytest

HIDDEN = "outs:\n- md5: {}.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: {}\n"


def run(box, experiment: str, *overrides: str) -> None:
    box.dvc("exp", "run", "-n", experiment, *(word for pair in overrides for word in ("-S", pair)))


def weights(box, experiment: str) -> str:
    return (box.root / f"checkpoints/{experiment}/model.safetensors").read_text()


def add_teammates(box, number: int) -> None:
    """Commits pointers of a colleague's experiments, whose weights are nowhere here."""
    for index in range(number):
        name = f"theirs_{index}"
        path = box.root / f"experiments/checkpoints/{name}.dvc"
        path.write_text(HIDDEN.format(f"{index:032x}", name))
    box.git("add", "--force", "experiments/checkpoints")
    box.git("commit", "-qm", f"{number} experiments of a colleague")


def test_a_used_workspace_goes_to_any_published_experiment_and_back(quick) -> None:
    older = quick.git("rev-parse", "HEAD~1")
    run(quick, "exp_003", "epochs=2", f'data.dataset="{older}"', 'description="first words"')
    run(quick, "exp_004", "epochs=3", "data.dataset=", 'description="second words"')
    done = quick.explicitlm("publish", "exp_003", "exp_004")
    assert "next: git push --atomic origin HEAD exp_003 exp_004" in done.stdout
    assert quick.git("status", "--porcelain") == ""
    assert quick.git("log", "-1", "--format=%B").splitlines() == [
        "chore: 添加实验记录 exp_003, exp_004", "", "exp_003 - first words", "exp_004 - second words",
    ]  # fmt: skip
    assert quick.git("show", "--name-only", "--format=", "HEAD").split() == [
        "experiments/checkpoints/exp_003.dvc", "experiments/checkpoints/exp_004.dvc",
        "experiments/records/exp_003.json", "experiments/records/exp_004.json",
    ]  # fmt: skip
    assert quick.git("tag", "-n").split() == ["exp_003", "exp_003", "-", "first", "words",
                                              "exp_004", "exp_004", "-", "second", "words"]  # fmt: skip

    shutil.rmtree(quick.root / "checkpoints/exp_003")
    quick.shell("git checkout -q exp_003 && dvc pull checkpoints/exp_003.dvc")
    assert "epochs: 2" in (quick.root / "params.yaml").read_text()
    assert json.loads((quick.root / "experiments/run/manifest.json").read_text())["id"] == "exp_003"
    assert weights(quick, "exp_003")
    quick.shell("git checkout -q main && git checkout -q exp_004 && dvc pull checkpoints/exp_004.dvc")
    quick.git("checkout", "-q", "main")
    assert quick.git("status", "--porcelain") == ""

    # The record stage can still be repeated, and gives the same record
    record = (quick.root / "experiments/records/exp_004.json").read_bytes()
    quick.dvc("repro", "--single-item", "record")
    assert (quick.root / "experiments/records/exp_004.json").read_bytes() == record


def test_what_a_run_left_stays_while_it_is_not_published(quick) -> None:
    run(quick, "exp_003", "epochs=2")
    run(quick, "exp_004", "epochs=3")
    quick.explicitlm("publish", "exp_003")
    assert "epochs: 3" in (quick.root / "params.yaml").read_text()
    assert (quick.root / "dvc.lock").exists()


def test_record_and_dvc_say_the_same(quick) -> None:
    """The record reads dvc.lock and metrics.json; `dvc exp show`, 1 s slower, must have the same numbers."""
    run(quick, "exp_001")
    record = quick.record("exp_001")
    rows = json.loads(quick.dvc("exp", "show", "--json").stdout)
    data = next(row["data"] for row in rows if row["rev"] == "workspace")
    train = [dep for dep in data["deps"] if dep != "checkpoints/run"]
    assert record["dependencies"] == {path: data["deps"][path]["hash"] for path in sorted(train)}
    assert record["results"]["metrics"] == data["metrics"]["experiments/run/metrics.json"]["data"]
    assert record["versions"]["checkpoint_hash"] == data["outs"]["checkpoints/run"]["hash"]


def test_apply_and_save_beside_the_weights_of_others(quick) -> None:
    add_teammates(quick, 20)
    run(quick, "exp_001", "epochs=2")
    run(quick, "exp_002", "epochs=3")
    quick.dvc("exp", "apply", "exp_001")
    assert "epochs: 2" in (quick.root / "params.yaml").read_text()
    quick.dvc("exp", "save", "-n", "kept")
    assert "kept" in quick.dvc("exp", "list").stdout
    quick.dvc("push")
    assert quick.explicitlm("publish", "exp_001").returncode == 0


def test_gc_keeps_what_a_tag_holds(quick) -> None:
    run(quick, "exp_001", "epochs=2")
    quick.explicitlm("publish", "exp_001")
    run(quick, "exp_002", "epochs=3")
    quick.git("checkout", "-q", "--", "params.yaml")
    (quick.root / "dvc.lock").unlink()
    quick.dvc("gc", "--workspace", "--all-tags", "--force")
    shutil.rmtree(quick.root / "checkpoints/exp_001")
    quick.dvc("checkout", "checkpoints/exp_001.dvc")
    assert weights(quick, "exp_001")


def test_publish_saves_a_recorded_workspace_itself(quick) -> None:
    quick.dvc("repro")  # no experiment of DVC's is made
    experiment = json.loads((quick.root / "experiments/run/manifest.json").read_text())["id"]
    quick.explicitlm("publish", experiment)
    record = quick.record(experiment)
    assert record["versions"]["experiment_commit"] == quick.git("rev-parse", f"{experiment}^{{commit}}")
    assert "dvc.lock" in quick.git("ls-tree", "--name-only", experiment).split()
    other = quick.clone("other")
    other.shell(f"git checkout -q {experiment} && dvc pull checkpoints/{experiment}.dvc")
    assert weights(other, experiment) == weights(quick, experiment)


@pytest.fixture
def team(quick):
    """A bare origin and two people's clones of it."""
    origin = quick.root.parent / "origin.git"
    quick.git("clone", "-q", "--bare", str(quick.root), str(origin))
    quick.git("remote", "add", "origin", str(origin))
    quick.git("fetch", "-q")
    quick.git("branch", "-q", "--set-upstream-to=origin/main")
    other = quick.clone("bo")
    other.git("remote", "set-url", "origin", str(origin))
    other.dvc("pull", "data/database.dvc", "data/benchmarks.dvc", "data/knowledge_base.dvc", check=False)
    return quick, other


def test_two_people_publish_pull_and_reproduce_each_others(team) -> None:
    ada, bo = team
    ada.dvc("push")  # the data
    run(ada, "ada_1", "epochs=2", 'description="by Ada"')
    run(bo, "bo_1", "epochs=3", 'description="by Bo"')
    ada.explicitlm("publish", "ada_1")
    bo.explicitlm("publish", "bo_1")
    ada.git("push", "-q", "--atomic", "origin", "HEAD", "ada_1")
    refused = bo.run("git", "push", "--atomic", "origin", "HEAD", "bo_1", check=False)
    assert refused.returncode != 0, "Ada was first"
    assert "bo_1" not in bo.git("ls-remote", "--tags", "origin"), "all or nothing"
    bo.git("pull", "-q", "--no-rebase", "--no-edit", "--tags")
    bo.git("push", "-q", "--atomic", "origin", "HEAD", "bo_1")
    ada.git("pull", "-q", "--tags")
    assert ada.git("rev-parse", "HEAD") == bo.git("rev-parse", "HEAD")
    for box in team:
        assert box.git("status", "--porcelain") == ""
        assert sorted(path.stem for path in (box.root / "experiments/records").glob("*.json")) == ["ada_1", "bo_1"]

    for box, theirs in ((ada, "bo_1"), (bo, "ada_1")):
        box.shell(f"git checkout -q {theirs} && dvc pull checkpoints/{theirs}.dvc && git checkout -q main")
        recorded = box.record(theirs)["versions"]["checkpoint_hash"]
        again = box.clone(f"again-{theirs}")
        again.git("checkout", "-q", theirs)
        again.dvc("pull", "data/database.dvc", "data/benchmarks.dvc", "data/knowledge_base.dvc")
        shutil.rmtree(again.root / "checkpoints/run", ignore_errors=True)
        again.dvc("repro", "--single-item", "--force", "train")
        assert recorded in (again.root / "dvc.lock").read_text(), "bit-identical weights"
    assert weights(ada, "bo_1") == weights(bo, "bo_1")
    assert weights(ada, "ada_1") == weights(bo, "ada_1") != weights(ada, "bo_1")
