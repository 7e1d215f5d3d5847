"""README's "Extending it", done step by step in a project: a dataset, a hyperparameter, a metric, a stage."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import Any

import pytest

STAGE = '''"""Writes what a training reached as a sentence."""

import json
from pathlib import Path

metrics = json.loads(Path("experiments/run/metrics.json").read_text())
Path("experiments/run/summary.txt").write_text(f"loss {metrics['val_loss']:.3f}\\n")
'''
STAGE_ENTRY = """  summary:
    cmd: PYTHONPATH=src python -m explicitlm.pipeline.summary
    deps:
      - experiments/run/metrics.json
    outs:
      - experiments/run/summary.txt: {cache: false}
"""


def insert(box, path: str, after: str, text: str) -> None:
    """Puts text behind a text that is there once."""
    content = (box.root / path).read_text(encoding="utf-8")
    assert content.count(after) == 1, f"{path} has {content.count(after)} times {after!r}"
    (box.root / path).write_text(content.replace(after, after + text), encoding="utf-8")


def add_a_dataset(box) -> tuple[str, str]:
    """Gives the commits of its two versions."""
    insert(box, "src/explicitlm/datasets/table.py", "DATASETS = (\n",
           '    Dataset("glossary", "glossary", "glossary_commit", required=False),\n')  # fmt: skip
    insert(box, "params.yaml", "data:\n", "  glossary: ''\n")
    commits = []
    for version in (1, 2):
        (box.root / "data/glossary").mkdir(exist_ok=True)
        (box.root / "data/glossary/terms.jsonl").unlink(missing_ok=True)
        (box.root / "data/glossary/terms.jsonl").write_text(f'{{"term": "entry", "version": {version}}}\n')
        box.dvc("add", "-q", "data/glossary")
        commits.append(box.commit(f"data: glossary v{version}", "data", "params.yaml", "src"))
    return commits[0], commits[1]


def add_a_hyperparameter(box) -> None:
    kind = 'Annotated[float, Meta(ge=0, lt=1, description="share of targets drawn anew")]'
    insert(box, "src/explicitlm/lm/config.py", "    # Transformer\n", f"    label_noise: {kind} = 0.0\n")
    insert(box, "params.yaml", "# Transformer\n", "label_noise: 0.0\n")
    insert(box, "dvc.yaml", "      - grad_clip\n", "      - label_noise\n")


def add_a_metric(box) -> None:
    insert(
        box,
        "src/explicitlm/lm/training/evaluate.py",
        'return {"val/loss": value, ',
        '"val/bits": value / math.log(2), ',
    )


def add_a_stage(box) -> None:
    (box.root / "src/explicitlm/pipeline/summary.py").write_text(STAGE)
    insert(box, "dvc.yaml", "\nstages:\n", STAGE_ENTRY)


@dataclass(frozen=True)
class Extended:
    """A project with all four, and exp_ext, an experiment of it on the older version of the new dataset."""

    box: Any
    old: str
    new: str

    def record(self) -> dict:
        """The record of the experiment."""
        return self.box.record("exp_ext")


@pytest.fixture(scope="module")
def extended(fresh, tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """Follows README, and trains."""
    box = fresh(tmp_path_factory.mktemp("extended"))
    box.env["PYTHONPATH"] = str(box.root / "src")  # what `pip install -e` of that project would do
    old, new = add_a_dataset(box)
    add_a_hyperparameter(box)
    add_a_metric(box)
    add_a_stage(box)
    box.run("python", "scripts/reference.py")
    box.commit("one of each", "src", "params.yaml", "dvc.yaml", "docs")
    box.dvc("exp", "run", "-n", "exp_ext", "-S", f'data.glossary="{old}"', "-S", "label_noise=0.25")
    return Extended(box, old, new)


def test_a_dataset(extended: Extended) -> None:
    record, box = extended.record(), extended.box
    assert record["status"] == "finished"
    assert record["versions"]["data"]["glossary_commit"] == extended.old
    pointer = box.git("show", f"{extended.old}:data/glossary.dvc")
    assert record["data"]["glossary"]["md5"] in pointer and record["data"]["glossary"]["nfiles"] == 1
    assert any("data/glossary.dvc" in step for step in record["reproduction"]["data_checkout_steps"])
    assert json.loads((box.root / "data/glossary/terms.jsonl").read_text())["version"] == 1
    assert len(json.loads(box.explicitlm("data", "log", "glossary", "--json").stdout)["versions"]) == 2
    assert "data/glossary" in box.explicitlm("doctor", check=False).stdout
    # The weights depend on it: its hash is among what train depends on.
    assert json.loads((box.root / "experiments/run/data.json").read_text())["glossary"] in pointer


def test_a_hyperparameter(extended: Extended) -> None:
    record = extended.record()
    assert record["hyperparameters"]["label_noise"] == 0.25
    assert record["changed_params"]["label_noise"] == [0.0, 0.25]
    assert "--label_noise 0.25" in record["experiment"]["command"]
    assert "share of targets drawn anew" in extended.box.run("python", "1_pretrain.py", "--help").stdout
    for generated in ("docs/reference.md", "docs/schemas/params.schema.json"):
        assert "label_noise" in (extended.box.root / generated).read_text(encoding="utf-8")


def test_a_metric(extended: Extended) -> None:
    metrics = extended.record()["results"]["metrics"]
    assert metrics["bits"] == pytest.approx(metrics["val_loss"] / math.log(2))
    with (extended.box.root / "experiments/run/val.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val/bits"]) == pytest.approx(metrics["bits"])
    assert "bits" in extended.box.dvc("exp", "show", "--md").stdout


def test_a_stage(extended: Extended) -> None:
    loss = extended.record()["results"]["metrics"]["val_loss"]
    assert (extended.box.root / "experiments/run/summary.txt").read_text() == f"loss {loss:.3f}\n"
    assert "summary:" in (extended.box.root / "dvc.lock").read_text()


def test_a_stage_runs_in_the_cluster_phases_as_well(extended: Extended) -> None:
    box = extended.box
    box.git("checkout", "-q", "--", "params.yaml", "data")  # back to HEAD's, as after any `dvc exp run` with -S
    box.dvc("checkout", "-q", "--force", "data/glossary.dvc")
    box.explicitlm("cluster", "pre", "exp_far", "label_noise=0.5")
    box.explicitlm("cluster", "train", "exp_far")
    box.explicitlm("cluster", "post", "exp_far")
    record = box.record("exp_far")
    assert record["versions"]["data"]["glossary_commit"] == extended.new
    loss = record["results"]["metrics"]["val_loss"]
    assert box.git("show", "exp_far:experiments/run/summary.txt") == f"loss {loss:.3f}"
    assert "summary:" in box.git("show", "exp_far:dvc.lock")
