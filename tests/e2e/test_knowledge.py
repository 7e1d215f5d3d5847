"""What a published model knows: shown, searched, changed, traced; every change is an experiment of its own."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from explicitlm.cli.main import main


@pytest.fixture(scope="module")
def published(fresh: Any, warm_commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with one tiny published experiment and a store, where a training starts at once."""
    folder = tmp_path_factory.mktemp("knowledge")
    box = fresh(folder)
    box.env["PATH"] = f"{warm_commands}{os.pathsep}{box.env['PATH']}"
    box.explicitlm("run", "exp_001", "-m", "first", "epochs=1")
    return box


def row_of(box: Any, words: str) -> Any:
    return json.loads(box.explicitlm("knowledge", "search", "exp_001", words, "--json").stdout)["rows"][0]


def test_rows_are_shown_with_their_source(published: Any) -> None:
    shown = json.loads(published.explicitlm("knowledge", "show", "exp_001", "-n", "9", "--json").stdout)["rows"]
    assert [row["kind"] for row in shown] == ["fact"] * 8 + ["implicit"]
    assert shown[0]["text"].startswith("Ada lives in") and shown[0]["where"] == "facts.json:1"
    assert row_of(published, "gus lives")["row"] == 6
    near = published.explicitlm("knowledge", "search", "exp_001", "--meaning", "Ada lives in", "-n", "3").stdout
    assert len(near.splitlines()) == 3


def test_an_edit_is_an_experiment_that_can_be_repeated(published: Any) -> None:
    box, row = published, row_of(published, "Ada")
    words = ["knowledge", "edit", "exp_001", "--find", "ada lives", "--object", "Rome", "--as"]
    before = box.git("rev-parse", "HEAD")
    box.explicitlm(*words, "exp_rome")
    first = box.record("exp_rome")
    assert first["versions"]["checkpoint_hash"] != box.record("exp_001")["versions"]["checkpoint_hash"]
    assert first["lineage"]["parent"] == "exp_001" and "Rome" in first["lineage"]["change"]
    assert first["lineage"]["author"] == "Tester <tester@example.org>"
    assert box.git("rev-parse", "exp_rome~1") == before
    assert first["reproduction"]["full_command"].endswith(f"&& explicitlm {shlex.join(words)} exp_rome")
    texts = json.loads(box.explicitlm("knowledge", "show", "exp_rome", "-n", "8", "--json").stdout)["rows"]
    assert texts[row["row"]]["text"] == "Ada lives in Rome." and first["lineage"]["repeat"]["row"] == row["row"]
    clone = box.clone("colleague")
    clone.dvc("pull", "checkpoints/exp_rome.dvc")
    assert "Rome" in clone.explicitlm("knowledge", "show", "exp_rome", "-n", "1").stdout
    assert box.git("status", "--porcelain") == ""
    for option in ((), ("--retrain",)):
        verdict = json.loads(box.explicitlm("reproduce", "exp_rome", *option, "--json").stdout)
        assert verdict["verdict"] == "identical" and verdict["how"] == ("retrained" if option else "restored")
        assert verdict["checkpoint_hash"] == first["versions"]["checkpoint_hash"]


@pytest.mark.hint("explicitlm knowledge search ID WORDS names the rows of facts")
def test_facts_are_added_and_removed(published: Any) -> None:
    published.explicitlm("knowledge", "add", "exp_001", "Zoe lives in Oslo.", "--object", "Oslo", "--as", "exp_zoe")
    found = json.loads(published.explicitlm("knowledge", "search", "exp_zoe", "Zoe", "--json").stdout)["rows"]
    assert [line["kind"] for line in found] == ["fact"]
    published.explicitlm("knowledge", "remove", "exp_zoe", "--row", str(found[0]["row"]), "--as", "exp_less")
    assert not json.loads(published.explicitlm("knowledge", "search", "exp_less", "Zoe", "--json").stdout)["rows"]


def test_a_trace_and_a_reason(published: Any) -> None:
    image = published.root / "trace.svg"
    traced = published.explicitlm("knowledge", "trace", "exp_001", "Ada lives in", "--svg", str(image), "--json").stdout
    reads = json.loads(traced)["reads"]
    assert all(0 <= read["weight"] <= 1.0001 for read in reads) and image.read_text().startswith("<svg")
    image.unlink()
    why = json.loads(published.explicitlm("knowledge", "why", "exp_001", "Ada lives in", "--json").stdout)
    assert why["commit"] == published.record("exp_001")["versions"]["data"]["database_init_commit"]
    assert why["author"] == "Tester <tester@example.org>" and why["row"] == reads[-1]["row"]


def in_process(box: Any, monkeypatch: Any, capsys: Any, *words: str) -> tuple[Any, str, str]:
    """Exit code and output of a command run here, where torch is loaded already."""
    monkeypatch.chdir(box.root)
    box.export(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["explicitlm", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


def test_it_speaks_greedily_and_by_a_seed(published: Any, monkeypatch: Any, capsys: Any) -> None:
    def said(*words: str) -> str:
        answered = in_process(published, monkeypatch, capsys, "generate", "exp_001", "Ada", "-n", "12", *words)
        assert answered[0] == 0
        return answered[1]

    assert said() == said() == published.explicitlm("generate", "exp_001", "Ada", "-n", "12").stdout
    assert said().startswith("Ada")
    drawn = [said("--temperature", "1", "--seed", str(seed)) for seed in (0, 1, 2, 0)]
    assert drawn[0] == drawn[3] and len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("edit", "exp_001", "--row", "200", "--object", "x", "--as", "exp_x"), "row 200 holds no fact"),
        (("edit", "exp_001", "--find", "lives in", "--object", "x", "--as", "exp_x"), "8 facts say 'lives in'"),
        (("edit", "exp_001", "--object", "x", "--as", "exp_x"), "which fact?"),
        (("edit", "exp_001", "--row", "0", "--object", "y" * 99, "--as", "exp_x"), "a row holds 1 to 16"),
        (("edit", "exp_001", "--row", "0", "--object", "x", "--as", "exp_001"), "exp_001 already"),
        (("show", "exp_404"), "no published experiment exp_404"),
        (("show", "exp_001", "--from", "999"), "there is no row 999"),
        (("add", "exp_001", "Bo sings.", "--object", "Rome", "--as", "exp_x"), "does not say the object"),
    ],
)
def test_mistakes_change_nothing(
    published: Any, words: tuple[str, ...], message: str, monkeypatch: Any, capsys: Any
) -> None:
    before = published.snapshot()
    code, _, said = in_process(published, monkeypatch, capsys, "knowledge", *words)
    assert code > 0 and message in said and "Traceback" not in said
    assert published.snapshot() == before
    assert not Path(published.root / "experiments/records/exp_x.json").exists()
