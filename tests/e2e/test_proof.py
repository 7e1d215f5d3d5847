"""Experiments run again: the same machine gives the same bits, and what was otherwise is named."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import pytest

# What `accelerate config` would write for two processes of one machine
TWO_PROCESSES = """compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
num_processes: 2
num_machines: 1
machine_rank: 0
main_process_port: 0
gpu_ids: all
mixed_precision: 'no'
use_cpu: false
"""


@pytest.fixture(scope="module")
def again(published):
    """A second clone of the published experiment."""
    return published.clone("proof")


@pytest.fixture
def warm(edited, warm_commands):
    """The same, where a training starts at once."""
    return replace(edited, env=edited.env | {"PATH": f"{warm_commands}{os.pathsep}{edited.env['PATH']}"})


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


def move_tag(box, path: str, old: str, new: str, experiment: str = "exp_001") -> None:
    """The tag names code in which a line differs; the branch stays as it was."""
    box.git("checkout", "-q", experiment)
    file = box.root / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    box.commit("edited", path)
    box.git("tag", "-f", experiment)
    box.git("checkout", "-q", "main")


@pytest.mark.hint("explicitlm reproduce {}")
@pytest.mark.hint("explicitlm reproduce {} --retrain")
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


def test_a_forged_metric_is_named(warm) -> None:
    """The weights are the recorded ones; what the record says of them is not, nor the answers that it names."""

    def edit(record: dict) -> None:
        record["results"]["metrics"].update({"val_loss": 0.5})
        record["results"]["items"]["md5"] = "0" * 32

    edit_record(warm, edit)
    verdict = reproduced(warm, "exp_001", "--retrain", code=1)
    assert verdict["verdict"] == "different" and verdict["causes"] == ["metrics", "answers"]
    assert verdict["checkpoint_hash"] == warm.record("exp_001")["versions"]["checkpoint_hash"]
    metric, answers = verdict["differences"]
    assert (metric["what"], metric["was"]) == ("val_loss", 0.5)
    assert (answers["what"], answers["was"]) == ("task items (the answers cannot be compared in detail)", "0" * 8)


def test_another_seed_is_named(warm) -> None:
    def edit(record: dict) -> None:
        record["hyperparameters"]["seed"] = 7
        record["experiment"]["command"] = record["experiment"]["command"].replace("--seed 1337", "--seed 7")

    edit_record(warm, edit)
    verdict = reproduced(warm, "exp_001", "--steps", "2", code=1)
    assert verdict["causes"] == ["parameters"] and verdict["differences"][0]["what"] == "seed"
    assert verdict["first_divergent_step"] == 0 and "random state" in verdict["parts"]


def test_an_edited_line_is_named(warm) -> None:
    move_tag(warm, "src/explicitlm/lm/training/optimizer.py", "fused=True", "fused=True, eps=1e-7")
    verdict = reproduced(warm, "exp_001", "--steps", "2", code=1)
    assert verdict["causes"] == ["code"]
    assert (verdict["last_equal_step"], verdict["first_divergent_step"], verdict["part"]) == (0, 1, "weights")
    assert "src/explicitlm/lm/training/optimizer.py" in {each["what"] for each in verdict["differences"]}


def test_another_data_version_is_named(warm) -> None:
    """The tag names a text whose sentences stand in another order; its bytes lie in this clone's cache."""
    warm.git("checkout", "-q", "exp_001")
    warm.dvc("pull", "-q", "data/database.dvc")
    warm.dvc("unprotect", "data/database")
    text = warm.root / "data/database/text.jsonl"
    text.write_text("".join(reversed(text.read_text().splitlines(keepends=True))))
    warm.dvc("add", "-q", "data/database")
    warm.commit("another text", "data/database.dvc")
    warm.git("tag", "-f", "exp_001")
    warm.git("checkout", "-q", "main")
    verdict = reproduced(warm, "exp_001", "--steps", "2", code=1)
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


def test_another_precision_is_named(warm) -> None:
    """The record says that it trained in bf16."""

    def edit(record: dict) -> None:
        record["hyperparameters"]["mixed_precision"] = "bf16"
        record["experiment"]["command"] = record["experiment"]["command"].replace(
            "--mixed_precision no", "--mixed_precision bf16"
        )

    edit_record(warm, edit)
    verdict = reproduced(warm, "exp_001", "--steps", "2", code=1)
    assert verdict["causes"] == ["parameters", "precision"]
    assert (verdict["last_equal_step"], verdict["first_divergent_step"], verdict["part"]) == (0, 1, "optimizer")


def test_another_number_of_threads_is_named(warm) -> None:
    threads = warm.record("exp_001")["environment"]["num_threads"]
    done = warm.explicitlm("reproduce", "exp_001", "--steps", "1", "--json", check=False,
                           EXPLICITLM_NUM_THREADS=str(threads + 1))  # fmt: skip
    (difference,) = json.loads(done.stdout)["differences"]
    assert difference == {"cause": "threads", "what": "num_threads", "was": threads, "now": threads + 1}


def test_another_number_of_processes_is_named(edited, tmp_path) -> None:
    """The machine's accelerate starts two."""
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate/default_config.yaml").write_text(TWO_PROCESSES)
    verdict = reproduced(edited, "exp_001", "--steps", "1", code=1, HF_HOME=str(tmp_path))
    assert verdict["differences"] == [{"cause": "world size", "what": "world_size", "was": 1, "now": 2}]
    assert (verdict["first_divergent_step"], verdict["part"]) == (0, "random state")  # each process has its own


def test_another_version_of_a_package_is_named(edited, tmp_path) -> None:
    """Another filelock lies before the installed one, which torch imports."""
    installed = distribution("filelock")
    for file in installed.files or []:
        name = str(file).replace(installed.version, "3.0.12")
        if file.suffix in (".py", "") or file.name == "METADATA":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(str(file.locate())), tmp_path / name)
    metadata = tmp_path / "filelock-3.0.12.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace(f"Version: {installed.version}", "Version: 3.0.12", 1))
    verdict = reproduced(edited, "exp_001", "--steps", "1", PYTHONPATH=str(tmp_path))
    assert verdict["verdict"] == "identical" and verdict["causes"] == ["packages"]
    assert verdict["differences"] == [
        {"cause": "packages", "what": "filelock", "was": installed.version, "now": "3.0.12"}
    ]


def test_lost_data_cannot_be_reproduced(edited) -> None:
    edited.git("tag", "-d", "exp_001")
    verdict = reproduced(edited, "exp_001", "--retrain", code=1)
    assert verdict["verdict"] == "not_reproducible" and "tag exp_001" in verdict["reason"]


@pytest.mark.hint("explicitlm reproduce --next --budget 2h")
def test_the_night_shift_ends_what_overruns(edited) -> None:
    edit_record(edited, lambda record: record["timing"].update({"duration_s": 0.1}))
    done = edited.explicitlm("reproduce", "--next", "--budget", "1s", check=False)
    assert done.returncode and "exp_001 was ended after 1 s" in done.stderr and "Traceback" not in done.stderr
    assert not (edited.root / "experiments/verdicts").exists()


@pytest.mark.hint("explicitlm reproduce --next --budget {}s")
def test_the_night_shift_verifies_three_of_different_age(warm) -> None:
    """One of them was made different on purpose: since then its tag names code in which a line differs."""
    warm.dvc("pull", "-q", "data/database.dvc", "data/benchmarks.dvc", "data/knowledge_base.dvc")
    for number in (2, 3):
        warm.explicitlm("run", f"exp_00{number}", "-m", "", f"seed={number}", "epochs=1")
    move_tag(warm, "src/explicitlm/lm/training/optimizer.py", "fused=True", "fused=True, eps=1e-7", "exp_002")
    done = warm.explicitlm("reproduce", "--next", "--budget", "9m", "--json", check=False)
    found = json.loads(done.stdout)
    graded = {each["experiment"]: each["verdict"] for each in found["verdicts"]}
    assert graded.keys() == {"exp_001", "exp_002", "exp_003"} and done.returncode == 1
    assert (graded["exp_001"], graded["exp_003"]) == ("identical", "identical") and graded["exp_002"] != "identical"
    (different,) = (each for each in found["verdicts"] if each["experiment"] == "exp_002")
    assert (different["causes"], different["first_divergent_step"], different["part"]) == (["code"], 1, "weights")
    assert found["badge"].startswith("2 of 3 identical, 1 differ: tag exp_002 ") and found["left"] == 0
    assert json.loads(warm.explicitlm("reproduce", "--next", "--json").stdout)["verdicts"] == []
    index = warm.explicitlm("index").stdout
    assert index.count("| identical (retrained) |") == 2
    report = warm.root / "report.html"
    warm.explicitlm("report", "-o", str(report))
    assert "parts at step 1, in weights" in report.read_text(encoding="utf-8")


def test_same_as_a_command(warm) -> None:
    """Its exit code is for a pull request's checks; what it notes is by the hash that records hold."""
    path = warm.root / "src/explicitlm/lm/training/optimizer.py"
    text = path.read_text()
    path.write_text(text.replace("parameters =", "trained =").replace("in parameters", "in trained"))
    warm.dvc("pull", "-q", "data/database.dvc", "data/benchmarks.dvc", "data/knowledge_base.dvc")
    found = json.loads(warm.explicitlm("same", "HEAD", "--steps", "2", "--json").stdout)
    assert found["identical"] and found["steps"] == 2 and found["first_divergent_step"] is None
    noted = json.loads((warm.root / found["equivalence"]).read_text())
    assert sorted(found["lm"]) == noted["lm"]
    assert warm.record("exp_001")["dependencies"]["src/explicitlm/lm"] in noted["lm"]
    path.write_text(text.replace("fused=True", "fused=True, eps=1e-7"))
    done = warm.explicitlm("same", "HEAD", "--steps", "2", check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "parts at step 1, in weights")
