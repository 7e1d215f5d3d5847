"""A checkout of its own for one experiment: what goes into it, and what comes out as a DVC experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from explicitlm.vcs import worktree
from explicitlm.vcs.worktree import Worktree


@pytest.fixture
def box(project, monkeypatch: pytest.MonkeyPatch):
    """The project, with this process in its environment."""
    project.export(monkeypatch)
    return project


def test_it_has_the_changes_of_tracked_files_and_new_data_versions_only(box, tmp_path: Path) -> None:
    box.set_params(epochs=7)
    (box.root / "1_pretrain.py").unlink()
    (box.root / "notes.txt").write_text("mine")
    (box.root / "data/extra.dvc").write_text("outs: []\n")
    worktree.add(box.root, tmp_path / "tree")
    tree = tmp_path / "tree"
    assert (tree / "params.yaml").read_bytes() == (box.root / "params.yaml").read_bytes()
    assert not (tree / "1_pretrain.py").exists() and not (tree / "notes.txt").exists()
    assert (tree / "data/extra.dvc").exists()
    names = Worktree(tree).tracked()
    assert "params.yaml" in names and "1_pretrain.py" not in names


def test_filters_of_the_persons_own_have_no_part_in_it(box, tmp_path: Path) -> None:
    (tmp_path / "attributes").write_text("* filter=upper\n")
    for key, value in {"clean": "tr a-z A-Z", "smudge": "false", "required": "true"}.items():
        box.git("config", f"filter.upper.{key}", value)
    box.git("config", "core.attributesFile", str(tmp_path / "attributes"))
    worktree.add(box.root, tmp_path / "tree")
    assert (tmp_path / "tree/1_pretrain.py").read_bytes() == (box.root / "1_pretrain.py").read_bytes()
    commit = Worktree(tmp_path / "tree").save_experiment("one")
    assert box.git("show", f"{commit}:params.yaml") == (box.root / "params.yaml").read_text().strip()


def test_removing_it_leaves_the_main_checkout_as_it_is_and_it_can_be_made_again(box, tmp_path: Path) -> None:
    box.set_params(epochs=7)
    before = box.snapshot()
    for _ in range(2):
        worktree.add(box.root, tmp_path / "tree")
        (tmp_path / "tree/left behind").write_text("x")
        worktree.remove(box.root, tmp_path / "tree")
        assert not (tmp_path / "tree").exists() and box.snapshot() == before


def test_two_experiments_are_saved_independently_and_dvc_knows_them(box, tmp_path: Path) -> None:
    head = box.git("rev-parse", "HEAD")
    trees = {name: tmp_path / name for name in ("one", "two")}
    for name, tree in trees.items():
        worktree.add(box.root, tree)
        (tree / "params.yaml").write_text((tree / "params.yaml").read_text() + f"# {name}\n")
    commits = {name: Worktree(tree).save_experiment(name) for name, tree in trees.items()}
    for name, commit in commits.items():
        assert box.git("rev-parse", f"{commit}^") == head
        assert box.git("show", f"{commit}:params.yaml").endswith(f"# {name}")
    assert box.git("rev-parse", "HEAD") == head and box.git("status", "--porcelain") == ""
    assert set(box.dvc("exp", "list", "--name-only").stdout.split()) == {"one", "two"}


def test_saving_again_replaces_the_experiment(box, tmp_path: Path) -> None:
    worktree.add(box.root, tmp_path / "tree")
    first = Worktree(tmp_path / "tree").save_experiment("one")
    (tmp_path / "tree/result.txt").write_text("more")
    second = Worktree(tmp_path / "tree").save_experiment("one")
    assert first != second and box.git("for-each-ref", "--format=%(objectname)", "refs/exps") == second
