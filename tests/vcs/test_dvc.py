"""What we ask DVC to do, and how it says that it cannot."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from explicitlm.common.errors import StorageError, UsageError
from explicitlm.vcs.dvc import Dvc, DvcError, _error_text, start_experiment


def test_a_folder_without_dvc_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DVC is not initialised"):
        Dvc(tmp_path)


def test_of_many_errors_that_differ_in_the_object_one_is_told() -> None:
    names = [f"{number:032x}" for number in range(5)]
    output = "".join(f"ERROR: failed to transfer '{name}' - no such key\n" for name in names) + "ERROR: 5 files\n"
    assert _error_text(f"WARNING: slow\n{output}") == f"failed to transfer '{names[4]}' - no such key; 5 files"
    assert _error_text("a\nb\nc\nd\n") == "b; c; d" and _error_text("") == "no message"


@pytest.mark.slow
def test_changes_are_told_by_file_and_undone_by_force_alone(here) -> None:
    dvc, folder = Dvc(here.root), here.root / "data/database"
    assert dvc.changes("data/database") == {}
    (folder / "more.jsonl").write_text('{"text": "more"}\n')
    (folder / "text.jsonl").unlink()
    changes = dvc.changes("data/database")
    assert changes["added"] == ["data/database/more.jsonl"] and changes["deleted"] == ["data/database/text.jsonl"]
    with pytest.raises(DvcError):
        dvc.checkout("data/database.dvc")
    assert (folder / "more.jsonl").exists(), "what no cache has is not removed"
    dvc.checkout("data/database.dvc", force=True)
    assert dvc.changes("data/database") == {}


@pytest.mark.slow
def test_a_stage_learns_the_main_checkout_and_no_other_experiment(here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from within a stage of DVC, whose variables name that one."""
    monkeypatch.setenv("DVC_EXP_NAME", "another")
    monkeypatch.setenv("DVC_STAGE", "train")
    (here.root / "dvc.yaml").write_text(
        "stages:\n  say:\n    cmd: env | grep ^DVC_ > said.txt\n    always_changed: true\n  fail:\n    cmd: exit 3\n"
    )
    dvc = Dvc(here.root)
    assert dvc.repro_stage("say", here.root.parent, "mine") and not dvc.repro_stage("fail", here.root.parent, "mine")
    said = (here.root / "said.txt").read_text().splitlines()
    assert "DVC_EXP_NAME=mine" in said and f"DVC_ROOT={here.root.parent}" in said
    with pytest.raises(StorageError, match="dvc commit nothing failed"):
        dvc.commit_stage("nothing", here.root)


@pytest.mark.slow
def test_an_experiment_starts_in_a_session_of_its_own(quick, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_python = Path(quick.env["PATH"].split(os.pathsep)[0]) / "python"
    monkeypatch.setattr(sys, "executable", str(quick_python))  # in whose environment a training is a stub
    quick.export(monkeypatch)
    process = start_experiment(quick.root, "exp_1", ["seed=7"], {})
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert process.wait() == 0 and "exp_1" in quick.git("for-each-ref", "refs/exps")
