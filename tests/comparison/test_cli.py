"""The verbs as processes: bad input gets one clear line, and the rest still works."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import made_records
import pytest
from made_records import explicitlm

from explicitlm.common import layout

PEOPLE = ("--columns", "id,val_loss", "--sort", "val_loss")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand records; one of them broken, one of another version, one without metrics."""
    root = tmp_path_factory.mktemp("many") / "project"
    made_records.bare_project(root)
    made_records.write(root, *made_records.many(1000), made_records.made("no_metrics"))
    (root / layout.RECORDS / "broken.json").write_text('{"experiment"')
    (root / layout.RECORDS / "later.json").write_text('{"schema_version": 7}')
    return root


def test_a_table_of_a_thousand_with_what_is_broken_named(root: Path) -> None:
    done = explicitlm(root, "compare")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 1002 and max(map(len, lines)) <= 100
    assert sorted(done.stderr.splitlines()) == [
        "warning: experiments/records/broken.json is left out: it is not valid JSON "
        "(Expecting ':' delimiter: line 1 column 14 (char 13))",
        "warning: experiments/records/later.json is left out: its schema version is 7, and this explicitlm reads 1",
    ]


@pytest.mark.parametrize("verb", ["compare", "index", "report"])
def test_what_is_broken_beside_the_records_stops_nothing(tmp_path: Path, verb: str) -> None:
    made_records.bare_project(tmp_path)
    made_records.write(tmp_path, *made_records.many(2))
    for name in ("experiments/verdicts/exp_00001/a.json", "experiments/equivalent/b.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("\x1b[31m{")
    (tmp_path / ".git").mkdir()
    done = explicitlm(tmp_path, verb)
    assert done.returncode == 0
    told = done.stdout + done.stderr
    if verb == "report":
        told = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("verdicts/exp_00001/a.json", "equivalent/b.json"):
        assert told.count(f"{name} is left out: it ") == 1
    assert "\x1b" not in told and "exp_00001" in told


def test_machines_get_whole_values_and_nothing_else(root: Path) -> None:
    where = ("--where", 'val_loss < 2.3 and status == "finished"')
    found = json.loads(explicitlm(root, "compare", *where, *PEOPLE, "--json").stdout)["experiments"]
    assert found and all(row["val_loss"] < 2.3 for row in found)
    assert found == sorted(found, key=lambda row: row["val_loss"])
    table = csv.DictReader(io.StringIO(explicitlm(root, "compare", *where, *PEOPLE, "--csv").stdout))
    assert [float(row["val_loss"]) for row in table] == [row["val_loss"] for row in found]
    seeds = json.loads(explicitlm(root, "compare", "exp_00000", "exp_00002", "--seeds", "3", "--json").stdout)
    loss = seeds["metrics"]["val_loss"]
    assert set(loss) >= {"mean", "low", "high", "pairs", "verdict"}
    assert loss["verdict"] == "real" and loss["low"] < loss["mean"] < loss["high"] < 0


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("--where", "val_los < 3"), "no experiment has 'val_los'"),
        (("--where", "__import__('os').system('touch owned')"), "may not stand in an expression"),
        (("--where", "val_loss <"), "is not an expression"),
        (("--sort", "nonsense"), "no experiment has 'nonsense'"),
        (("exp_00001", "exp_x"), "exp_x has no record"),
        (("broken", "exp_00001"), "broken has no record"),
        (("exp_00001", "--seeds", "3"), "--seeds N compares two experiments"),
        (("exp_00000", "exp_00001", "--seeds", "3", "--csv"), "--seeds N compares two experiments"),
        (("exp_00000", "exp_00001", "--facts", "--where", "seed == 1"), "--facts compares the answers"),
        (("--csv", "--json"), "three forms of one table"),
        (("exp_00000", "exp_00012", "--seeds", "3"), "differ in nothing but the seed"),
    ],
)
def test_mistakes(root: Path, words: tuple[str, ...], cause: str) -> None:
    done = explicitlm(root, "compare", *words)
    told = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert done.returncode == 2
    assert len(told) == 2 and told[0].startswith("error: ") and cause in told[0] and told[1].startswith("  next: ")
    assert not (root / "owned").exists()


def test_index_and_report_name_what_is_broken_and_show_the_rest(root: Path, tmp_path: Path) -> None:
    done = explicitlm(root, "index")
    assert done.returncode == 0 and "[exp_00999](exp_00999.json)" in done.stdout
    assert sum(line.startswith("warning: experiments/records/") for line in done.stderr.splitlines()) == 2
    assert explicitlm(root, "report", "-o", str(tmp_path / "report.html")).returncode == 0
    page = (tmp_path / "report.html").read_text()
    for words in (
        "experiments/records/broken.json",
        "experiments/records/later.json",
        "1001 experiments",
        "x-no_metrics",
    ):
        assert words in page, words


def test_an_experiment_without_metrics_is_compared_all_the_same(root: Path) -> None:
    done = explicitlm(root, "compare", "exp_00000", "no_metrics")
    assert done.returncode == 0
    assert "learning_rate: 0.0001 -> 0.0002" in done.stdout and "val_loss: 2.552 -> (none)" in done.stdout
    done = explicitlm(root, "compare", "exp_00000", "no_metrics", "--seeds", "2")
    assert done.returncode == 0 and "no pair of finished experiments has a metric in common" in done.stdout
