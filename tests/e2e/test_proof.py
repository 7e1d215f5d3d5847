"""Experiments run again: the same machine gives the same bits, and what was otherwise is named."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def again(published):
    """A second clone of the published experiment."""
    return published.clone("proof")


def reproduced(box, *words: str, code: int = 0, **more: str) -> dict:
    done = box.explicitlm("reproduce", *words, "--json", check=False, **more)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def edit_record(box, edit) -> None:
    path = box.root / "experiments/records/exp_001.json"
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


@pytest.fixture
def edited(published, request):
    """Another clone, whose record or tag a test changes."""
    return published.clone(f"edited-{request.node.name.replace('[', '-').strip(']')}")


def move_tag(box, path: str, old: str, new: str) -> None:
    """The tag names code in which a line differs; the branch stays as it was."""
    box.git("checkout", "-q", "exp_001")
    file = box.root / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    box.commit("edited", path)
    box.git("tag", "-f", "exp_001")
    box.git("checkout", "-q", "main")


def test_a_second_clone_gives_the_same_weights(again) -> None:
    before = again.snapshot()
    restored = reproduced(again, "exp_001")
    assert (restored["verdict"], restored["causes"]) == ("identical", [])
    verdict = reproduced(again, "exp_001", "--retrain")
    assert (verdict["verdict"], verdict["causes"], verdict["first_divergent_step"]) == ("identical", [], None)
    assert verdict["checkpoint_hash"] == again.record("exp_001")["versions"]["checkpoint_hash"]
    assert len(list((again.root / "experiments/verdicts/exp_001").glob("*.json"))) == 2
    assert not list((again.root / ".explicitlm/proofs").glob("*/"))
    assert again.snapshot() | {"status": ""} == before | {"status": ""}
    assert json.loads(again.explicitlm("badge", "--json").stdout)["message"] == "1 of 1 identical"


def test_another_seed_is_named(edited) -> None:
    def edit(record: dict) -> None:
        record["hyperparameters"]["seed"] = 7
        record["experiment"]["command"] = record["experiment"]["command"].replace("--seed 1337", "--seed 7")

    edit_record(edited, edit)
    verdict = reproduced(edited, "exp_001", "--steps", "2", code=1)
    assert verdict["causes"] == ["parameters"] and verdict["differences"][0]["what"] == "seed"
    assert verdict["first_divergent_step"] == 0 and "random state" in verdict["parts"]


def test_an_edited_line_is_named(edited) -> None:
    move_tag(edited, "src/explicitlm/lm/training/optimizer.py", "fused=True", "fused=True, eps=1e-7")
    verdict = reproduced(edited, "exp_001", "--steps", "2", code=1)
    assert verdict["causes"] == ["code"]
    assert (verdict["last_equal_step"], verdict["first_divergent_step"], verdict["part"]) == (0, 1, "weights")
    assert "src/explicitlm/lm/training/optimizer.py" in {each["what"] for each in verdict["differences"]}


def test_another_data_version_is_named(edited) -> None:
    """The tag names a text whose sentences stand in another order; its bytes lie in this clone's cache."""
    edited.git("checkout", "-q", "exp_001")
    edited.dvc("pull", "-q", "data/database.dvc")
    edited.dvc("unprotect", "data/database")
    text = edited.root / "data/database/text.jsonl"
    text.write_text("".join(reversed(text.read_text().splitlines(keepends=True))))
    edited.dvc("add", "-q", "data/database")
    edited.commit("another text", "data/database.dvc")
    edited.git("tag", "-f", "exp_001")
    edited.git("checkout", "-q", "main")
    verdict = reproduced(edited, "exp_001", "--steps", "2", code=1)
    assert verdict["verdict"] != "not_reproducible"
    named = {(each["cause"], each["what"]) for each in verdict["differences"]}
    assert named == {("code", "tag exp_001"), ("data", "data/database")}
    assert verdict["first_divergent_step"] is not None and "order of data" in verdict["parts"]


def test_a_broken_manifest_is_said_in_one_line(edited) -> None:
    for content in ("{", "[]", '{"schema_version": 1, "code": 7}'):
        edited.git("checkout", "-q", "exp_001")
        (edited.root / "experiments/run/manifest.json").write_text(content)
        edited.commit("broken", "experiments/run/manifest.json")
        edited.git("tag", "-f", "exp_001")
        edited.git("checkout", "-q", "main")
        done = edited.explicitlm("reproduce", "exp_001", check=False)
        assert done.returncode == 1 and "exp_001: not_reproducible" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr and "manifest.json" in done.stdout


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [("num_threads", 3, "threads"), ("world_size", 2, "world size"), ("precision", "bf16", "precision")],
)
def test_another_environment_is_named(edited, key: str, value: object, cause: str) -> None:
    """The run that was recorded had another one."""
    edit_record(edited, lambda record: record["environment"].update({key: value}))
    more = {"EXPLICITLM_NUM_THREADS": "1"} if cause == "threads" else {}
    done = edited.explicitlm("reproduce", "exp_001", "--steps", "1", "--json", check=False, **more)
    assert cause in json.loads(done.stdout)["causes"]


def test_a_changed_package_is_named(edited) -> None:
    edit_record(edited, lambda record: record["environment"]["packages"].update({"torch": "2.14.0"}))
    edit_record(edited, lambda record: record["environment"].pop("distributions", None))
    done = edited.explicitlm("reproduce", "exp_001", "--steps", "1", "--json", check=False)
    verdict = json.loads(done.stdout)
    assert verdict["causes"] == ["packages"] and verdict["differences"][0]["was"] == "2.14.0"


def test_lost_data_cannot_be_reproduced(edited) -> None:
    edited.git("tag", "-d", "exp_001")
    verdict = reproduced(edited, "exp_001", "--retrain", code=1)
    assert verdict["verdict"] == "not_reproducible" and "tag exp_001" in verdict["reason"]


def test_the_night_shift_ends_what_overruns_and_verifies_what_fits(edited) -> None:
    edit_record(edited, lambda record: record["timing"].update({"duration_s": 0.1}))
    done = edited.explicitlm("reproduce", "--next", "--budget", "1s", check=False)
    assert done.returncode and "exp_001 was ended after 1 s" in done.stderr and "Traceback" not in done.stderr
    assert not (edited.root / "experiments/verdicts").exists()
    found = json.loads(edited.explicitlm("reproduce", "--next", "--budget", "9m", "--json").stdout)
    assert [each["verdict"] for each in found["verdicts"]] == ["identical"]
    assert (found["badge"], found["left"]) == ("1 of 1 identical", 0)
    assert json.loads(edited.explicitlm("reproduce", "--next", "--json").stdout)["verdicts"] == []


def test_a_harmless_and_a_harmful_edit(project) -> None:
    path = project.root / "src/explicitlm/lm/training/optimizer.py"
    text = path.read_text()
    path.write_text(text.replace("parameters =", "trained =").replace("in parameters", "in trained"))
    found = json.loads(project.explicitlm("same", "HEAD", "--steps", "4", "--json").stdout)
    assert found["identical"] and found["steps"] == 4 and found["first_divergent_step"] is None
    noted = json.loads((project.root / found["equivalence"]).read_text())
    assert sorted(found["lm"]) == noted["lm"]
    path.write_text(text.replace("fused=True", "fused=True, eps=1e-7"))
    done = project.explicitlm("same", "HEAD", "--steps", "4", "--json", check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 1 and not found["identical"]
    assert (found["first_divergent_step"], found["part"]) == (1, "weights")
