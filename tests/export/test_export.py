"""An exported experiment: whole, checked by the tools that read such folders, or refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import made_records
import pytest

from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.export.folder import export
from explicitlm.vcs.workspace import Workspace

HOSTILE = "a | b\n---\n# <script>alert(1)</script> `x` 中文"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "project"
    made_records.bare_project(root)
    whole = made_records.made("exp_003", metrics={"val_loss": 2.5, "steps": 9}, description=HOSTILE, conclusion=HOSTILE)
    whole["results"]["items"] = {"md5": "12" + "3" * 30, "size": 7}
    made_records.write(
        root,
        whole,
        made_records.made("broke", status="failed"),
        made_records.made("away"),
    )
    weights = root / layout.weights("exp_003")
    weights.mkdir(parents=True)
    for name in (*layout.CHECKPOINT_FILES, "knowledge.jsonl"):
        (weights / name).write_text("{}")
    (root / ".dvc").mkdir()
    (root / ".dvc/cache/files/md5/12").mkdir(parents=True)
    (root / ".dvc/cache/files/md5/12" / ("3" * 30)).write_text("answers")
    return Workspace(root, root)


@pytest.mark.hint("explicitlm export {} with another folder")
def test_the_folder_is_whole_and_its_readers_take_it(workspace: Workspace, tmp_path: Path) -> None:
    hub, rocrate = pytest.importorskip("huggingface_hub"), pytest.importorskip("rocrate.rocrate")
    target = export(workspace, "exp_003", tmp_path / "out/exp_003")
    names = {path.name for path in target.iterdir()}
    made = {*layout.CHECKPOINT_FILES, "knowledge.jsonl", "items.jsonl.zst"}
    assert names == {*made, "README.md", "record.json", "ro-crate-metadata.json", "SHA256SUMS"}
    assert (target / "items.jsonl.zst").read_text() == "answers"
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=target, check=True)
    card = hub.ModelCard.load(target / "README.md")
    assert card.data.model_name == "exp_003" and card.data.license == "apache-2.0"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {"val_loss": 2.5}
    assert "<script>" not in card.text and "中文" in card.text
    assert "git checkout exp_003 && accelerate launch" in card.text
    crate = rocrate.ROCrate(target)
    assert {entity.id for entity in crate.data_entities} == names - {"ro-crate-metadata.json", "SHA256SUMS"}
    assert {entity.id for entity in crate.dereference("#training")["result"]} == made
    assert json.loads((target / "record.json").read_text())["experiment"]["description"] == HOSTILE


def test_what_cannot_be_exported(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="broke has no weights"):
        export(workspace, "broke", tmp_path / "x")
    with pytest.raises(DataError, match="the weights of away are not here") as caught:
        export(workspace, "away", tmp_path / "x")
    assert caught.value.hint == f"dvc pull {layout.weights_pointer('away')}"
    with pytest.raises(UsageError, match="exists"):
        export(workspace, "exp_003", tmp_path)
    assert not (tmp_path / "x").exists()
