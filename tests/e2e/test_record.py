"""What stands in a published experiment's record is true, and its commands bring everything back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

LOAD = """
from pathlib import Path
from explicitlm.lm.training.checkpoint import load
model = load(Path("checkpoints/exp_001")).model
assert model.bank is not None
print(sum(weight.numel() for weight in model.parameters()) > 1000)
"""


def lock_hash(box, revision: str) -> str:
    lock = YAML(typ="safe").load(box.git("show", f"{revision}:dvc.lock"))
    return next(out["md5"] for out in lock["stages"]["train"]["outs"] if out["path"] == "checkpoints/run")


def folder_hash(box, path: str) -> str:
    """DVC's own hash of a folder."""
    box.dvc("add", "-q", path)
    return YAML(typ="safe").load((box.root / f"{path}.dvc").read_text())["outs"][0]["md5"]


def test_the_guides_fields_hold_true_values(published, description: str) -> None:
    record = published.record("exp_001")
    assert list(record)[:6] == [
        "experiment", "versions", "hyperparameters", "results", "environment", "reproduction",
    ]  # fmt: skip
    assert record["experiment"]["id"] == "exp_001"
    assert record["experiment"]["description"] == description
    assert record["experiment"]["script"].startswith("dvc exp run -n exp_001 -S ")
    versions = record["versions"]
    assert versions["code_commit"] == published.git("rev-parse", "HEAD~1")
    assert versions["data"]["dataset_commit"] == published.git(
        "log", "-1", "--format=%H", "HEAD~1", "--", "data/database.dvc"
    )
    assert versions["data"]["embedding_commit"] is None
    assert versions["checkpoint_dvc"] == "checkpoints/exp_001.dvc"
    assert versions["checkpoint_hash"] == lock_hash(published, "exp_001")
    assert versions["checkpoint_hash"].startswith(versions["checkpoint_hash_short"])
    assert versions["experiment_commit"] == published.git("rev-parse", "exp_001^{commit}")
    assert record["hyperparameters"]["epochs"] == 2 and record["hyperparameters"]["use_swanlab"] is True
    assert "--epochs 2 " in record["experiment"]["command"] and "--use_swanlab" in record["experiment"]["command"]
    assert record["results"]["swanlab_url"].startswith("https://swanlab.cn/@team/ExplicitLM/runs/")
    assert record["results"]["swanlab_status"] == "planned"
    assert record["results"]["checkpoint_dir"] == "checkpoints/exp_001/"
    assert record["results"]["metrics"]["val_loss"] > 0
    assert record["environment"]["python_version"] == sys.version.split()[0]
    assert record["environment"]["num_gpus"] == 0 and record["environment"]["world_size"] == 1
    assert record["status"] == "finished" and record["failure"] is None and record["seed"] == 1337
    assert not any(record["findings"].values()), record["findings"]
    assert record["changed_params"]["epochs"] == [1, 2]


def test_what_became_of_the_facts_is_told_by_the_training(published) -> None:
    told = json.loads((published.root / ".explicitlm/runs/exp_001/knowledge.json").read_text())
    findings = published.record("exp_001")["findings"]
    assert told == {"left_out": findings["facts_left_out"], "cut": findings["facts_cut"]}


def test_the_commit_is_the_guides(published) -> None:
    subject = published.git("log", "-1", "--format=%s")
    assert subject == 'chore: 添加实验记录 exp_001 - first: "quotes", 中文，emoji 🚀'
    assert published.git("show", "--name-only", "--format=", "HEAD").split() == [
        "experiments/checkpoints/exp_001.dvc", "experiments/records/exp_001.json",
    ]  # fmt: skip
    assert published.git("tag") == "exp_001"
    assert "[exp_001](exp_001.json)" in published.explicitlm("index").stdout


def test_the_record_stage_repeats_itself_to_the_byte(published) -> None:
    path = published.root / "experiments/records/exp_001.json"
    before = path.read_bytes()
    published.dvc("repro", "--single-item", "record")
    assert path.read_bytes() == before


def test_publishing_again_changes_nothing_and_brings_weights_that_are_not_here(published) -> None:
    before = published.git("rev-parse", "HEAD", "exp_001")
    shutil.rmtree(published.root / "checkpoints/exp_001")  # as if killed before they were linked
    refused = published.explicitlm("run", "exp_001", check=False)
    assert refused.returncode == 2 and "next: explicitlm publish exp_001, if that is the one" in refused.stderr
    assert "is committed already" in published.explicitlm("publish", "exp_001").stdout
    assert published.git("rev-parse", "HEAD", "exp_001") == before
    assert (published.root / "checkpoints/exp_001/model.safetensors").exists()


def test_the_guides_jq_and_python_examples(published) -> None:
    shell = published.shell
    assert json.loads(shell("cat experiments/records/exp_001.json | jq '.hyperparameters'").stdout)["dim"] == 32
    loop = """for f in experiments/records/*.json; do
    exp_id=$(basename $f .json)
    knowledge_num=$(jq -r '.hyperparameters.knowledge_num' $f)
    echo "$exp_id: knowledge_num=$knowledge_num"
done"""
    assert shell(loop).stdout == "exp_001: knowledge_num=256\n"
    commit = json.loads(shell("jq '.versions.data' experiments/records/*.json").stdout)["dataset_commit"]
    assert shell(f'grep -l \'"dataset_commit": "{commit}"\' experiments/records/*.json').stdout
    guide = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
    (search,) = re.findall(r"^grep .*", guide, flags=re.MULTILINE)  # by the first characters, as git shows them
    assert "exp_001.json" in shell(search.replace("d2de793a", commit[:8])).stdout
    python = """
import json
from pathlib import Path
records_dir = Path("experiments/records")
for json_file in records_dir.glob("*.json"):
    with open(json_file) as f:
        record = json.load(f)
        print(record['experiment']['id'], record.get('final_accuracy', 0))
"""
    assert published.run(sys.executable, "-c", python).stdout == "exp_001 0\n"


def test_weights_come_to_a_second_clone_and_load(published) -> None:
    other = published.clone("weights")
    other.dvc("pull", "checkpoints/exp_001.dvc")
    assert other.run(sys.executable, "-c", LOAD).stdout == "True\n"


def test_each_command_of_the_record_runs_alone_in_a_fresh_clone(published) -> None:
    reproduction = published.record("exp_001")["reproduction"]
    assert len(reproduction["data_checkout_steps"]) == 3
    for index, command in enumerate(
        [reproduction["code_checkout"], *reproduction["data_checkout_steps"], reproduction["checkpoint_pull"]]
    ):
        other = published.clone(f"alone-{index}")
        other.shell(command)
        if command.startswith("dvc pull"):
            assert (other.root / "checkpoints/exp_001/model.safetensors").exists()
        elif "data/" in command:
            path = command.rsplit(" ", 1)[1].removesuffix(".dvc")
            assert folder_hash(other, path) == published.record("exp_001")["data"][path.split("/")[1]]["md5"]
        else:
            assert other.git("rev-parse", "HEAD") == published.record("exp_001")["versions"]["experiment_commit"]


def test_the_full_command_retrains_to_the_recorded_hash(published) -> None:
    other = published.clone("again")
    other.shell(published.record("exp_001")["reproduction"]["full_command"])
    shutil.move(other.root / "checkpoints/run", other.root / "again")
    assert folder_hash(other, "again") == published.record("exp_001")["versions"]["checkpoint_hash"]


@pytest.mark.parametrize("what", ["experiments/records/exp_001.json", "logs/exp_001.log"])
def test_no_credential_of_the_environment_is_written(published, what: str) -> None:
    text = (published.root / what).read_text(encoding="utf-8")
    for key, value in published.env.items():
        if any(word in key for word in ("KEY", "SECRET", "TOKEN", "PASSWORD")) and len(value) > 6:
            assert value not in text


def test_the_next_experiment_costs_no_copy_of_the_weights(published) -> None:
    """The pointer names the object that train's out already has in the cache."""
    weights = published.root / "checkpoints/exp_001/model.safetensors"
    done = subprocess.run(["stat", "-c", "%h", weights], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 2 or weights.is_symlink()
