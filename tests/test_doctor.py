"""`explicitlm doctor`: every line tells the truth, and its command mends what it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from following import run_hint


def lines(box) -> dict[str, dict[str, str]]:
    """The doctor's checks by name; the worst counts where there are several."""
    found: dict[str, dict[str, str]] = {}
    for check in json.loads(box.explicitlm("doctor", "--json", check=False).stdout)["checks"]:
        if found.get(check["name"], {}).get("state") not in ("warn", "fail"):
            found[check["name"]] = check
    return found


def test_a_sound_project(project) -> None:
    found = lines(project)
    assert {check["state"] for name, check in found.items() if name != "packages"} == {"ok"}
    assert project.git("status", "--porcelain") == ""


@pytest.fixture
def ailing(project, tmp_path: Path):
    """A project with many faults at once: the doctor's start costs seconds, and no check stops the others."""
    project.env["DVC_GLOBAL_CONFIG_DIR"] = str(tmp_path / "global")
    (tmp_path / "global").mkdir()
    (tmp_path / "global/config").write_text("['remote \"far\"']\n    url = gs://me:secret@bucket/x\n")
    project.dvc("config", "--local", "core.remote", "far")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/more.jsonl").write_text('{"text": "more"}\n')
    (project.root / "data/database/link").symlink_to(tmp_path / "elsewhere")
    (project.root / "data/benchmarks/more.jsonl").write_text("{}\n")
    shutil.rmtree(project.root / "data/knowledge_base")
    (project.root / "data/embeddings").mkdir()
    np.save(project.root / "data/embeddings/table.npy", np.zeros((3, 4), np.float32))
    project.dvc("add", "-q", "data/embeddings")
    (project.root / "src/explicitlm/new.py").write_text("")
    (Path(project.env["HOME"]) / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    return project


@pytest.mark.hint("to have it in one: cp -rL {} {} && mkdir -p {} && mv {} {} && dvc add {}")
@pytest.mark.hint("git add -- {} {} && git commit -m 'work in progress' -- {} {}")
@pytest.mark.slow
def test_many_faults_at_once_each_with_what_mends_it(ailing) -> None:
    found = lines(ailing)
    assert found["publishing"]["state"] == "warn" and "who commits" in found["publishing"]["detail"]
    assert found["remote"]["hint"] == "pip install 'dvc[gs]'"
    assert "secret" not in json.dumps(found) and not (ailing.root / "gs:").exists()
    assert found["data/database"]["state"] == "warn" and "link/" in found["data/database"]["detail"]
    assert found["data/benchmarks"]["state"] == "fail"
    assert found["data/knowledge_base"]["state"] == "warn"
    assert "have shape [3, 4], not [300, 32]" in found["format of data/embeddings"]["detail"]
    assert found["code"]["state"] == "warn" and "new.py" in found["code"]["detail"]

    ailing.shell(found["publishing"]["hint"])
    ailing.explicitlm("remote", "local")
    ailing.shell(found["data/benchmarks"]["hint"].split("put it aside: ")[1])
    ailing.dvc("checkout", "-q", "data/knowledge_base.dvc")  # dvc pull, if the remote had it
    ailing.dvc("remove", "-q", "data/embeddings.dvc", "--outs")
    run_hint(ailing, found["data/database"]["hint"], "to have it in one: (.*)")
    run_hint(ailing, found["code"]["hint"])
    again = lines(ailing)
    assert {check["state"] for name, check in again.items() if name != "packages"} == {"ok"}, again
    assert (ailing.root / "data/benchmarks.aside/more.jsonl").exists()


def test_a_remote_that_is_a_folder_is_tried(project) -> None:
    store = project.root.parent / "explicitlm-storage"
    assert lines(project)["remote"]["state"] == "ok"
    assert list(store.iterdir()) == []
    shutil.rmtree(store)
    store.write_text("a file")
    assert lines(project)["remote"]["state"] == "fail"


@pytest.mark.hint("dvc pull {} (the sample: explicitlm sample-data)")
def test_a_broken_parameter_does_not_hide_the_other_lines_and_data_comes_by_the_hint(project) -> None:
    project.dvc("push", "-q", "data/benchmarks")
    shutil.rmtree(project.root / "data/benchmarks")
    project.set_params(epochs=0)
    found = lines(project)
    assert any(check["state"] == "fail" and "epochs=0" in check["detail"] for check in found.values())
    assert found["git"]["state"] == "ok" and found["data/database"]["state"] == "ok"
    project.shell(found["data/benchmarks"]["hint"].split(" (")[0])
    assert lines(project)["data/benchmarks"]["state"] == "ok"
