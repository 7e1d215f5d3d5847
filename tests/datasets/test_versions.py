"""Which version of each dataset a run uses: the rules of resolve.py, on real git and DVC."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from switching import add_data, documents, older, sync, target, used, versions

from explicitlm.common.errors import DataError


@pytest.fixture
def box(here):
    """The project, with this process in its environment."""
    return here


def test_current_data_is_skipped_with_the_guides_words(box) -> None:
    head = box.git("rev-parse", "HEAD")
    assert f"database: unchanged ({head[:8]}), skipped" in sync(box)
    assert "embeddings: not used" in sync(box)


def test_nothing_to_do_starts_no_dvc_at_all(box) -> None:
    sync(box)
    shutil.move(box.root / ".dvc/cache", box.root / ".dvc/elsewhere")  # DVC would fail now
    assert len(sync(box)) == 5


@pytest.mark.parametrize("name", ["commit", "short", "branch", "tag"])
def test_any_revision_brings_the_older_version(box, name: str) -> None:
    old = older(box)
    box.git("branch", "old-data", old)
    box.git("tag", "snapshot-1", old)
    revision = {"commit": old, "short": old[:8], "branch": "old-data", "tag": "snapshot-1"}[name]
    said = sync(box, dataset=revision)
    assert documents(box) == 48
    assert documents(box) != 96 and len([line for line in said if "->" in line]) == 1
    assert used(box, dataset=revision).commit == old
    assert any("benchmarks: unchanged" in line for line in said)


def test_equal_content_under_another_commit_is_skipped(box) -> None:
    (box.root / "notes.txt").write_text("no data")
    box.commit("no data changed", "notes.txt")
    assert any("database: unchanged" in line for line in sync(box, dataset=box.git("rev-parse", "HEAD")))


def test_a_leftover_of_a_pin_goes_back(box) -> None:
    sync(box, dataset=older(box))
    assert box.git("status", "--porcelain") == "M data/database.dvc"
    said = sync(box)
    assert documents(box) == 96 and box.git("status", "--porcelain") == ""
    assert any("database:" in line and "->" in line for line in said)


def test_uncommitted_data_is_used_as_it_is(box) -> None:
    add_data(box)
    found = used(box)
    assert found.uncommitted and found.commit is None
    sync(box)
    assert documents(box) == 1


def test_uncommitted_data_stays_the_users_after_an_experiment_held_it(box) -> None:
    """An experiment's commit and tag also hold data that the user never committed: that makes it no leftover."""
    add_data(box)
    box.git("stash", "store", box.git("stash", "create"))
    box.git("update-ref", f"refs/exps/aa/{'b' * 38}/exp_x", box.git("rev-parse", "stash@{0}"))
    box.git("tag", "exp_x", box.git("rev-parse", "stash@{0}"))
    assert used(box).uncommitted


def test_a_pin_on_a_tag_only_version_is_a_leftover_afterwards(box) -> None:
    head = box.git("rev-parse", "HEAD")
    add_data(box)
    box.commit("elsewhere", "data/database.dvc")
    box.git("tag", "exp_y")
    box.git("reset", "-q", "--hard", head)
    box.dvc("checkout", "-q", "--force", "data/database.dvc")
    sync(box, dataset="exp_y")
    pinned = target(box, "exp_y").md5
    sync(box, pins={"dataset": pinned})
    assert documents(box) == 96


@pytest.fixture
def optional(box):
    """The project with two optional datasets in HEAD; gives the commit."""
    np.save(folder(box, "embeddings") / "table.npy", np.zeros((300, 32), np.float32))
    np.save(folder(box, "cache") / "bank.npy", np.zeros((256, 16), np.uint16))
    box.dvc("add", "-q", "data/embeddings", "data/cache")
    box.git("add", "data/.gitignore")
    return box.commit("optional data", "data/embeddings.dvc", "data/cache.dvc")


def folder(box, name: str) -> Path:
    path = box.root / "data" / name
    path.mkdir()
    return path


def test_an_optional_dataset_that_head_has_need_not_be_used(box, optional: str) -> None:
    unused: dict[str, Any] = {"embedding": "none", "cache": "none", "database_init": "none"}
    plans = versions(box, **unused)
    for name in ("embeddings", "cache", "knowledge_base"):
        assert plans[name].target is None and plans[name].version is None
    sync(box, **unused)
    assert not any((box.root / "data" / name).exists() for name in ("embeddings", "cache", "knowledge_base"))
    assert any("embeddings: not used" in line for line in sync(box, **unused))
    # What the next run finds: the last one used none of them, so that HEAD's versions come back
    sync(box, dict.fromkeys(unused, "none"))
    assert box.git("status", "--porcelain") == "" and (box.root / "data/embeddings/table.npy").exists()


def test_what_training_needs_or_git_does_not_hold_cannot_be_left_out(box, optional: str) -> None:
    with pytest.raises(DataError, match=r"data.dataset=none: training needs data/database"):
        sync(box, dataset="none")
    np.save(folder(box, "embeddings-2") / "table.npy", np.ones((300, 32), np.float32))
    (box.root / "data/embeddings/table.npy").unlink()
    shutil.copy(box.root / "data/embeddings-2/table.npy", box.root / "data/embeddings/table.npy")
    box.dvc("add", "-q", "data/embeddings")
    with pytest.raises(DataError, match="an uncommitted version"):
        sync(box, embedding="none")
    assert (box.root / "data/embeddings/table.npy").exists()


def test_one_version_has_one_commit_whatever_named_it(box) -> None:
    """Records of equal data are found by one search: the first commit that gave data/X.dvc this content."""
    first, head = older(box), box.git("rev-parse", "HEAD")
    box.git("checkout", "-q", first, "--", "data/database.dvc")
    again = box.commit("back again", "data/database.dvc")
    box.git("tag", "snapshot", again)
    box.git("checkout", "-q", "-b", "side", head)
    for name in (first, "snapshot", "main", again[:8]):
        assert used(box, dataset=name).commit == first
    assert used(box).commit == head


def test_a_commit_of_a_branch_comes_before_that_of_an_experiment(box) -> None:
    """An experiment's own commit held the data first; its user committed it afterwards."""
    head = box.git("rev-parse", "HEAD")
    add_data(box)
    experiment = box.commit("dvc's commit", "data/database.dvc")
    box.git("tag", "exp_z")
    box.git("reset", "-q", "--soft", head)
    assert used(box, dataset="exp_z").commit == experiment, "no branch has it yet"
    mine = box.commit("my data", "data/database.dvc")
    for name in ("", "exp_z", "main"):
        assert used(box, dataset=name).commit == mine


def test_an_older_pointer_with_other_line_ends_is_known(box) -> None:
    """`git checkout REV -- data/database.dvc` writes CRLF where core.autocrlf says so."""
    box.git("config", "core.autocrlf", "true")
    box.git("checkout", "-q", older(box), "--", "data/database.dvc")
    assert b"\r\n" in (box.root / "data/database.dvc").read_bytes()
    box.dvc("checkout", "-q", "data/database.dvc")
    found = used(box, dataset=older(box))
    assert found.commit == older(box) and not found.uncommitted
    sync(box, dataset=older(box))
    assert documents(box) == 48
    sync(box)
    assert documents(box) == 96 and used(box).commit == box.git("rev-parse", "HEAD")


def test_a_pin_over_uncommitted_data_is_refused(box) -> None:
    add_data(box)
    before = box.snapshot()
    with pytest.raises(DataError) as caught:
        sync(box, dataset=older(box))
    assert "uncommitted version" in caught.value.cause and "git commit" in caught.value.hint
    assert box.snapshot() == before and documents(box) == 1


def test_data_changed_without_dvc_add_is_refused(box) -> None:
    sync(box)
    path = box.root / "data/database/text.jsonl"
    path.unlink()
    path.write_text("edited\n")
    for revision in ("", older(box)):
        with pytest.raises(DataError) as caught:
            sync(box, dataset=revision)
        assert "changed without dvc add" in caught.value.cause and "dvc add data/database" in caught.value.hint
    assert path.read_text() == "edited\n"


def test_data_without_a_version_is_refused(box) -> None:
    (box.root / "data/embeddings").mkdir()
    (box.root / "data/embeddings/vectors").write_text("mine")
    with pytest.raises(DataError, match=r"data/embeddings has no version"):
        sync(box)


@pytest.mark.parametrize(
    ("revisions", "cause"),
    [
        ({"dataset": "no-such-thing"}, "'no-such-thing' is not a revision that git knows"),
        ({"dataset": "--all"}, "is not a revision that git knows"),
        ({"embedding": "HEAD"}, "data/embeddings.dvc did not exist at HEAD"),
    ],
)
def test_revisions_that_name_nothing(box, revisions: dict[str, Any], cause: str) -> None:
    before = box.snapshot()
    with pytest.raises(DataError, match=cause):
        sync(box, **revisions)
    assert box.snapshot() == before


def test_missing_and_broken_pointers_are_named(box) -> None:
    pointer = box.root / "data/database.dvc"
    pointer.write_text("<<<<<<< HEAD\n")
    with pytest.raises(DataError, match=r"data/database.dvc is broken"):
        sync(box)
    pointer.unlink()
    with pytest.raises(DataError, match=r"data/database.dvc is missing \(HEAD has it\)"):
        sync(box)
    box.git("rm", "-q", "--cached", "data/database.dvc")
    box.git("commit", "-qm", "no data")
    with pytest.raises(DataError, match=r"training needs data/database"):
        sync(box)
