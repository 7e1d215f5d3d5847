"""The user's commands as they stand: workspace, isolated, queued, pinned, skipped, dirty, resumed."""

from __future__ import annotations

import json
import os
import signal

import psutil
import pytest
from processes import descendants, start, steps_in, wait_for, work_off_the_queue


def experiment_record(box, experiment: str) -> dict:
    """The record inside an experiment that is not published yet."""
    (commit,) = [
        line.split()[1]
        for line in box.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
        if line.split()[0].endswith(f"/{experiment}")
    ]
    return json.loads(box.git("show", f"{commit}:experiments/records/{experiment}.json"))


def test_three_commands_and_an_isolated_repetition(project) -> None:
    project.dvc("exp", "run", "-S", "epochs=2", "-n", "exp_003")
    record = project.record("exp_003")
    assert record["hyperparameters"]["epochs"] == 2 and record["results"]["weights_from"] == "exp_003"

    table = project.dvc("exp", "show", "--md").stdout
    assert "exp_003" in table and "val_loss" in table and "epochs" in table
    short = project.dvc("exp", "show", "--only-changed", "--md").stdout
    assert "epochs" in short and "rope_theta" not in short

    path = project.root / "experiments/records/exp_003.json"
    before = path.read_bytes()
    project.dvc("repro", "--single-item", "record")
    assert path.read_bytes() == before

    # Equal inputs under another name: DVC does not train again, and the record says whose weights they are.
    done = project.dvc("exp", "run", "-n", "exp_004")
    assert "Stage 'train' didn't change, skipping" in done.stdout
    again = project.record("exp_004")
    assert again["results"]["weights_from"] == "exp_003"
    assert again["versions"]["checkpoint_hash"] == record["versions"]["checkpoint_hash"]

    # The same in a folder of its own really trains, and gives the same bits.
    project.dvc("exp", "run", "--temp", "-n", "exp_005")
    isolated = experiment_record(project, "exp_005")
    assert isolated["results"]["weights_from"] == "exp_005"
    assert isolated["versions"]["checkpoint_hash"] == record["versions"]["checkpoint_hash"]
    assert isolated["results"]["metrics"] == record["results"]["metrics"]
    assert not any(isolated["findings"].values()), isolated["findings"]
    assert not (project.root / "experiments/records/exp_005.json").exists()
    project.explicitlm("publish", "exp_005")
    assert project.record("exp_005")["versions"]["experiment_tag"] == "exp_005"


def test_a_queue_of_two_workers(warm) -> None:
    for name, seed in (("exp_a", 1), ("exp_b", 2)):
        warm.dvc("exp", "run", "--queue", "-n", name, "-S", f"seed={seed}")
    work_off_the_queue(warm, 2, lambda: warm.dvc("queue", "status").stdout.count("Success") == 2)
    first, second = experiment_record(warm, "exp_a"), experiment_record(warm, "exp_b")
    assert (first["seed"], second["seed"]) == (1, 2)
    assert first["versions"]["checkpoint_hash"] != second["versions"]["checkpoint_hash"]
    assert first["experiment"]["script"].startswith("dvc queue start")
    warm.explicitlm("publish", "exp_a", "exp_b")
    assert warm.git("tag").split() == ["exp_a", "exp_b"]


def test_pinned_data_trains_on_the_older_version_and_nothing_is_lost(warm) -> None:
    older = warm.git("rev-parse", "HEAD~1")
    current = (warm.root / "data/database.dvc").read_text()
    run = warm.dvc("exp", "run", "-S", f"data.dataset={older}", "-n", "exp_005")
    record = warm.record("exp_005")
    assert record["versions"]["data"]["dataset_commit"] == older
    assert record["versions"]["data"]["val_dataset_commit"] == warm.git("rev-parse", "HEAD")
    warm.explicitlm("publish", "exp_005")
    assert warm.git("show", "exp_005:data/database.dvc") == warm.git("show", f"{older}:data/database.dvc")
    assert "tokenised 48 documents" in run.stdout

    # By the experiment's id, in isolation; the workspace goes back to the user's version with the next run.
    warm.git("checkout", "-q", "--", "params.yaml")
    warm.explicitlm("run", "exp_006", "data.dataset=exp_005", "seed=7")
    again = warm.record("exp_006")
    assert again["data"]["database"]["md5"] == record["data"]["database"]["md5"]
    assert again["versions"]["data"]["dataset_commit"] == older, "the first commit of this content, whatever named it"
    warm.dvc("exp", "run", "-n", "exp_007", "-S", "seed=8")
    assert (warm.root / "data/database.dvc").read_text() == current
    assert warm.record("exp_007")["versions"]["data"]["dataset_commit"] == warm.git("rev-parse", "HEAD~2")


def test_run_does_what_the_single_machine_script_did(warm, description: str) -> None:
    params = (warm.root / "params.yaml").read_bytes()
    (warm.root / "notes.txt").write_text("the user's own, staged but not committed")
    warm.git("add", "notes.txt")
    done = warm.explicitlm("run", "exp_010", "-m", description, "epochs=2", "learning_rate=1e-3")
    assert "next: git push --atomic origin HEAD exp_010" in done.stdout
    record = warm.record("exp_010")
    assert record["experiment"]["description"] == description
    assert record["experiment"]["script"].startswith("explicitlm run exp_010 -m ")
    assert record["hyperparameters"]["learning_rate"] == 1e-3
    assert (warm.root / "params.yaml").read_bytes() == params
    assert warm.git("status", "--porcelain") == "A  notes.txt"
    assert (warm.root / "checkpoints/exp_010/model.safetensors").exists()


def test_dirty_code_is_told_recorded_and_kept(warm) -> None:
    source = warm.root / "src/explicitlm/lm/training/schedule_note.py"
    evaluate = warm.root / "src/explicitlm/lm/training/evaluate.py"
    evaluate.write_text(evaluate.read_text() + "\n# a change that no commit holds\n")
    source.write_text('"""New, and not added."""\n')
    done = warm.dvc("exp", "run", "--temp", "-n", "exp_020")
    assert "WARNING: uncommitted code" in done.stdout and "schedule_note.py" in done.stdout
    warm.explicitlm("publish", "exp_020")
    code = warm.record("exp_020")["code"]
    assert code["dirty"] and code["changed"] == ["src/explicitlm/lm/training/evaluate.py"]
    assert len(code["diff_sha256"]) == 64
    assert code["untracked"] == ["src/explicitlm/lm/training/schedule_note.py"]
    assert "a change that no commit holds" in warm.git("show", "exp_020:src/explicitlm/lm/training/evaluate.py")
    assert evaluate.read_text().endswith("# a change that no commit holds\n")


def test_undeclared_inputs_are_named(warm) -> None:
    (warm.root / "extra.py").write_text("VALUE = 1\n")
    script = warm.root / "1_pretrain.py"
    script.write_text(script.read_text().replace("import sys\n", "import sys\n\nimport extra\n", 1))
    warm.commit("an import that dvc.yaml does not know", "extra.py", "1_pretrain.py")
    done = warm.dvc("exp", "run", "-n", "exp_021")
    assert "WARNING: read but not declared in dvc.yaml: extra.py" in done.stdout
    assert warm.record("exp_021")["findings"]["undeclared_inputs"] == ["extra.py"]


@pytest.mark.hint("explicitlm run {} --resume; or explicitlm publish {} keeps the record")
def test_ctrl_c_leaves_a_record_and_resume_ends_at_the_same_bits(warm) -> None:
    arguments = ("epochs=30", "save_interval=3")
    warm.explicitlm("run", "whole", *arguments)
    process = start(warm, "explicitlm", "run", "broken", "-m", "中断 test", *arguments)
    wait_for(lambda: steps_in(warm.root / "logs/broken.log") >= 20, process)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 5, out
    assert "next: explicitlm run broken --resume" in out
    record = warm.record("broken")
    assert record["status"] == "interrupted" and record["failure"]["signal"] == "SIGINT"
    assert record["versions"]["checkpoint_hash"] is None and record["experiment"]["description"] == "中断 test"
    assert warm.git("status", "--porcelain") == "?? experiments/records/broken.json"

    warm.explicitlm("run", "broken", "--resume")
    resumed, whole = warm.record("broken"), warm.record("whole")
    assert resumed["status"] == "finished"
    assert resumed["versions"]["checkpoint_hash"] == whole["versions"]["checkpoint_hash"]
    assert resumed["results"]["metrics"] == whole["results"]["metrics"]
    assert resumed["environment"]["cuda_version"] is None or resumed["environment"]["num_gpus"] > 0
    digests = [warm.git("show", f"{name}:experiments/run/digests.csv") for name in ("broken", "whole")]
    assert digests[0] == digests[1]


@pytest.mark.hint("explicitlm publish {} keeps the record")
def test_ctrl_c_in_the_workspace(warm) -> None:
    process = start(warm, "dvc", "exp", "run", "-n", "stopped", "-S", "epochs=50")
    wait_for(lambda: steps_in(warm.root / "logs/stopped.log") >= 5, process)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode != 0
    assert "stopped was interrupted by SIGINT" in out
    assert warm.record("stopped")["status"] == "interrupted"
    warm.explicitlm("publish", "stopped")
    assert warm.git("log", "-1", "--format=%s") == "chore: 添加实验记录 stopped - interrupted"
    assert warm.git("tag") == ""


def test_a_failed_training_leaves_a_failed_record(project) -> None:
    script = project.root / "1_pretrain.py"
    script.write_text(script.read_text().replace("import sys\n", "raise SystemExit('no such luck')\n", 1))
    done = project.explicitlm("run", "bad", check=False)
    assert done.returncode == 5
    record = project.record("bad")
    assert record["status"] == "failed"
    assert record["failure"]["error"].splitlines() == ["exit code 1", "no such luck"], (
        "without the launcher's own words"
    )
    assert "Traceback" not in done.stdout + done.stderr
    again = project.explicitlm("run", "bad", check=False)
    assert again.returncode == 2 and "bad is used" in again.stderr


def test_a_broken_text_is_told_before_the_id_is_used(warm) -> None:
    text = warm.root / "data/database/text.jsonl"
    whole = text.read_bytes()
    text.unlink()
    text.write_text('{"text": "fine"}\n{"text": broken\n')
    warm.dvc("add", "-q", "data/database")
    warm.commit("broken text", "data/database.dvc")
    done = warm.explicitlm("run", "bad", check=False)
    assert done.returncode == 3 and "text.jsonl" in done.stdout + done.stderr and "line 2" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (warm.root / "experiments/records/bad.json").exists()
    text.unlink()
    text.write_bytes(whole)
    warm.dvc("add", "-q", "data/database")
    warm.commit("whole again", "data/database.dvc")
    warm.explicitlm("run", "bad")


def test_a_run_that_was_killed_without_a_word_keeps_a_record(warm) -> None:
    process = start(warm, "explicitlm", "run", "killed", "epochs=50")
    wait_for(lambda: steps_in(warm.root / "logs/killed.log") >= 5, process)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.communicate()
    assert warm.record("killed")["status"] == "interrupted"
    warm.explicitlm("publish", "killed")
    assert warm.git("log", "-1", "--format=%s").startswith("chore: 添加实验记录 killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_schedulers_signal_ends_as_interrupted(project, number: signal.Signals) -> None:
    process = start(project, "dvc", "exp", "run", "-n", "requeued", "-S", "epochs=50")
    wait_for(lambda: steps_in(project.root / "logs/requeued.log") >= 5, process)
    (stage,) = [child for child in descendants(process, "explicitlm.pipeline.train") if "python" in child.name()]
    stage.send_signal(number)
    process.communicate()
    record = project.record("requeued")
    assert (record["status"], record["failure"]["signal"]) == ("interrupted", number.name)
    assert record["failure"]["exit_code"] == 128 + number
