"""The commands of a record, from what the experiment was made of; e2e/test_record.py runs them."""

from __future__ import annotations

from explicitlm.lm.config import TrainConfig
from explicitlm.records import reproduction
from explicitlm.records.manifest import CodeVersion, DataVersion, Manifest

CODE = CodeVersion(commit="c0de" * 10, dirty=False, changed=[], diff_sha256=None, untracked=[], files={})


def version(commit: str | None) -> DataVersion:
    return DataVersion(revision="", commit=commit, md5="0" * 32, size=1, nfiles=1, uncommitted=commit is None)


def manifest(**data: DataVersion | None) -> Manifest:
    return Manifest(
        id="exp_1", description="", created_at="2026-01-01", started_by="dvc exp run", command="train --seed 1",
        code=CODE, data=data, hyperparameters=TrainConfig(), changed_params={},
    )  # fmt: skip


def test_a_finished_experiment_comes_back_by_its_tag() -> None:
    found = reproduction.commands(
        manifest(dataset=version("da7a"), val_dataset=version("da7b"), cache=None), weights=True
    )
    steps = [
        "git checkout da7a -- data/database.dvc && dvc pull data/database.dvc",
        "git checkout da7b -- data/benchmarks.dvc && dvc pull data/benchmarks.dvc",
    ]
    assert found.code_checkout == "git checkout exp_1" and found.data_checkout_steps == steps
    assert found.checkpoint_pull is not None and found.checkpoint_pull.startswith("dvc pull ")
    assert "exp_1.dvc" in found.checkpoint_pull
    assert found.full_command == " && ".join([found.code_checkout, *steps, "train --seed 1"])


def test_a_version_in_no_commit_is_in_the_experiments_own() -> None:
    (step,) = reproduction.commands(manifest(dataset=version(None)), weights=True).data_checkout_steps
    assert step.startswith("git checkout exp_1 -- data/database.dvc")


def test_a_failed_one_names_the_commit_it_started_from_and_no_weights() -> None:
    found = reproduction.commands(manifest(dataset=version("da7a")), weights=False)
    assert found.code_checkout == f"git checkout {CODE.commit}" and found.checkpoint_pull is None
