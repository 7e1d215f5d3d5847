"""What may name an experiment, and how it was started."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox import Sandbox

from explicitlm.common.errors import UsageError
from explicitlm.pipeline import identity
from explicitlm.vcs.workspace import Workspace


@pytest.fixture
def box(project, monkeypatch: pytest.MonkeyPatch):
    """The project, with this process in its environment."""
    project.export(monkeypatch)
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture(scope="module")
def shared(fresh: Callable[[Path], Sandbox], tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A project that no test changes."""
    return fresh(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def unchanged(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The same, with this process in its environment."""
    shared.export(monkeypatch)
    monkeypatch.chdir(shared.root)
    return shared


def refusal(box, experiment: str) -> UsageError:
    """Why an id may not be used."""
    with pytest.raises(UsageError) as caught:
        identity.check_id(experiment, Workspace(box.root, box.root))
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "-x", ".x", "a/b", "a..b", "x.lock", "x.", "x.dvc", "x.json", "x.tmp", "a" * 101, "名", "a\0b"),
        *("run", "Jobs", "main", "MASTER", "HEAD", "FETCH_HEAD", "orig_head", "database", "origin", "stash", "a" * 40),
    ],
)
def test_what_cannot_name_files_and_a_tag_is_refused(unchanged, name: str) -> None:
    assert "cannot be an experiment id" in refusal(unchanged, name).cause


def test_what_means_a_commit_to_git_is_refused(unchanged) -> None:
    for length in (4, 7, 12):
        short = unchanged.git("rev-parse", "HEAD")[:length]
        assert "means the commit" in refusal(unchanged, short).cause


@pytest.mark.parametrize("where", ["record", "tag", "experiment", "run", "cluster"])
def test_a_name_that_differs_in_case_only_is_refused(box, where: str) -> None:
    places = {"record": "experiments/records/Twin.json", "run": ".explicitlm/runs/Twin/x",
              "cluster": ".explicitlm/cluster/Twin/x"}  # fmt: skip
    if where in places:
        (box.root / places[where]).parent.mkdir(parents=True, exist_ok=True)
        (box.root / places[where]).write_text("{}")
    elif where == "tag":
        box.git("tag", "Twin")
    else:
        box.git("update-ref", f"refs/exps/{'a' * 2}/{'b' * 38}/Twin", "HEAD")
    assert "differs from Twin in upper and lower case only" in refusal(box, "tWIN").cause


def test_free_names_are_taken_and_generated_ones_are_free(unchanged) -> None:
    workspace = Workspace(unchanged.root, unchanged.root)
    for name in ("exp_003", "1", "A-b.c_d", identity.generated_id()):
        identity.check_id(name, workspace)
    assert re.fullmatch(r"exp_\d{8}_\d{6}_[0-9a-f]{4}", identity.generated_id())


def test_each_way_of_being_used_is_told_apart(box) -> None:
    box.git("tag", "tagged")
    box.git("tag", "above/below")
    box.git("branch", "branched")
    box.git("update-ref", f"refs/exps/{'a' * 2}/{'b' * 38}/known", "HEAD")
    (box.root / "experiments/records/left.json").write_text("{}")
    for name, words in (
        ("tagged", "a git tag of that name"),
        ("above", "cannot become a tag"),
        ("branched", "is the name of a branch"),
        ("known", "is used by the DVC experiment"),
        ("left", "left by an earlier run"),
    ):
        assert words in refusal(box, name).cause
    box.commit("the record", "experiments/records/left.json")
    assert "exists, committed" in refusal(box, "left").cause


def test_what_a_killed_run_left_can_be_published_or_go_on(box) -> None:
    record, run = box.root / "experiments/records/left.json", box.root / ".explicitlm/runs/left"
    record.write_text('{"status": "finished"}')
    assert refusal(box, "left").hint.startswith("explicitlm publish left, ")
    record.write_text('{"status": "failed"}')
    assert refusal(box, "left").hint.startswith("choose another id")
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    assert refusal(box, "left").hint.startswith("explicitlm run left --resume begins it again")
    (run / "states/step-00000005").mkdir(parents=True)
    for commit in (False, True):  # also when the record of the interrupted run is published
        if commit:
            box.commit("its record", "experiments/records/left.json")
        assert refusal(box, "left").hint.startswith("explicitlm run left --resume; ")
    record.write_text('{"status": "finished"}')
    box.commit("its record", "experiments/records/left.json")
    assert "exists, committed" in refusal(box, "left").cause


def test_the_hint_about_a_left_record_frees_the_name_and_keeps_the_record(box) -> None:
    record = box.root / "experiments/records/left.json"
    record.write_text('{"kept": true}')
    box.shell(refusal(box, "left").hint.rpartition("put it aside: ")[2])
    identity.check_id("left", Workspace(box.root, box.root))
    assert [path.read_text() for path in box.root.rglob("left.json")] == ['{"kept": true}']


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("dvc exp run -S epochs=2 -n x", {"epochs"}),
        ("dvc exp run --set-param epochs=2 --set-param=seed=3", {"epochs", "seed"}),
        ("dvc exp run -Sepochs=2 -S params.yaml:data.cache=exp_1 -S ~seed", {"epochs", "data.cache", "seed"}),
        ("dvc exp run -n x", set()),
    ],
)  # fmt: skip
def test_which_parameters_a_command_sets(line: str, keys: set[str]) -> None:
    assert identity.set_by(line.split()) == keys


def test_code_is_named_by_its_commit_and_by_what_differs_from_it(box) -> None:
    workspace = Workspace(box.root, box.root)
    clean = identity.code_version(workspace)
    assert (clean.commit, clean.dirty, clean.changed, clean.untracked) == (box.git("rev-parse", "HEAD"), False, [], [])
    with (box.root / "1_pretrain.py").open("a") as file:
        file.write("# changed\n")
    (box.root / "new.py").write_text("")
    box.set_params(epochs=9)  # parameters are not code
    dirty = identity.code_version(Workspace(box.root, box.root))
    assert (dirty.dirty, dirty.changed, dirty.untracked) == (True, ["1_pretrain.py"], ["new.py"])
    assert dirty.diff_sha256 is not None and dirty.files["1_pretrain.py"] != clean.files["1_pretrain.py"]
    assert {name for name in clean.files if clean.files[name] != dirty.files[name]} == {"1_pretrain.py"}
