"""Which version of each dataset a run uses, and bringing it: the rules of resolve.py, on real git and DVC."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages import messages

from explicitlm.common.errors import DataError, StorageError
from explicitlm.datasets.resolve import DatasetPlan, resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.records.manifest import DataVersion
from explicitlm.vcs import cache
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.dvc import Dvc
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

CURRENT = {dataset.param: "" for dataset in DATASETS}


@pytest.fixture
def box(project, monkeypatch):
    """The project, with this process in its environment."""
    project.export(monkeypatch)
    monkeypatch.chdir(project.root)
    return project


def workspace(box) -> Workspace:
    return Workspace(box.root, box.root)


def sync(box, pins: dict[str, str] | None = None, **revisions: str) -> list[str]:
    """What sync_data does with the data; gives its lines."""
    plans = resolve(workspace(box), {**CURRENT, **revisions}, pins)
    with messages() as lines:
        bring(workspace(box), plans, check_untouched(workspace(box), plans))
    return lines


def versions(box, **revisions: str) -> dict[str, DatasetPlan]:
    return {item.dataset.folder: item for item in resolve(workspace(box), {**CURRENT, **revisions})}


def target(box, revision: str) -> Pointer:
    """The training data of a revision."""
    found = versions(box, dataset=revision)["database"].target
    assert found is not None
    return found


def used(box, **revisions: str) -> DataVersion:
    """What an experiment would record of the training data."""
    found = versions(box, **revisions)["database"].version
    assert found is not None
    return found


def documents(box, folder: str = "database") -> int:
    return len((box.root / f"data/{folder}/text.jsonl").read_text().splitlines())


def older(box) -> str:
    return box.git("rev-parse", "HEAD~1")


def add_data(box, text: str = '{"text": "mine"}\n') -> None:
    """The user's own new version: edited and `dvc add`ed."""
    path = box.root / "data/database/text.jsonl"
    path.unlink()  # DVC's links are read-only
    path.write_text(text)
    box.dvc("add", "-q", "data/database")


def test_current_data_is_skipped_with_the_guides_words(box) -> None:
    head = box.git("rev-parse", "HEAD")
    assert f"database: unchanged ({head[:8]}), skipped" in sync(box)
    assert "embeddings: not used" in sync(box)


def test_nothing_to_do_starts_no_dvc_at_all(box) -> None:
    sync(box)
    shutil.move(box.root / ".dvc/cache", box.root / ".dvc/elsewhere")  # DVC would fail now
    assert len(sync(box)) == 5


@pytest.mark.parametrize("fails", [False, True])
def test_where_nothing_is_there_dvc_is_started_once(box, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    starts: list[tuple[str, ...]] = []
    checkout = Dvc.checkout

    def counted(self: Dvc, *targets: str, force: bool = False) -> None:
        starts.append(targets)
        if fails and len(targets) > 1:
            raise StorageError("one of them is at fault", "")
        checkout(self, *targets, force=force)

    monkeypatch.setattr(Dvc, "checkout", counted)
    names = ("database", "benchmarks", "knowledge_base")
    whole = (box.root / "data/database/text.jsonl").read_bytes()
    for name in names:
        shutil.rmtree(box.root / f"data/{name}")
    said = sync(box)
    together = tuple(f"data/{name}.dvc" for name in names)
    assert {*starts[0]} == {*together} and starts[1:] == ([(name,) for name in starts[0]] if fails else [])
    for name in names:
        assert any(line.startswith(f"{name}: ") and "brought from the cache, 1 files" in line for line in said), said
    assert not any("killed" in line or "differ" in line for line in said)
    assert (box.root / "data/database/text.jsonl").read_bytes() == whole
    assert "unchanged" in sync(box)[0], "confirmed"


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


def write_in_place(path: Path, text: str) -> None:
    """What root may do, and everybody after `chmod u+w`: writes through a link, into the cache's object."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(mode)


def links(box) -> Path:
    """The training data as links, which the fixture's copy of the project is not; gives its one file."""
    box.dvc("checkout", "-q", "--relink", "data/database.dvc")
    path = box.root / "data/database/text.jsonl"
    assert path.stat().st_nlink == 2
    return path


def push(box, revision: str) -> None:
    """Puts a version of the training data on the remote."""
    with open_store(box.root) as data_store:
        data_store.push({"data/database": target(box, revision)})


def test_dvc_add_leaves_no_second_copy(box) -> None:
    (box.root / "data/embeddings").mkdir()
    written = box.root / "data/embeddings/vectors.bin"
    written.write_bytes(bytes(1000))
    inode = written.stat().st_ino
    box.dvc("add", "-q", "data/embeddings")
    assert (written.stat().st_nlink, written.stat().st_ino) == (2, inode), "the user's own file is the cache's object"
    sync(box, dataset=older(box))
    assert (box.root / "data/database/text.jsonl").stat().st_nlink == 2


@pytest.mark.hint("dvc add {} to keep the change, or put it aside: mv {} {} && dvc pull {}")
def test_an_edit_through_a_link_is_kept_and_is_not_taken_for_the_old_version(box) -> None:
    head, path = box.git("rev-parse", "HEAD"), links(box)
    push(box, head)
    sync(box)
    write_in_place(path, "edited\n")
    with pytest.raises(DataError, match=r"written through links into the cache.*text.jsonl") as caught:
        sync(box)
    assert path.read_text() == "edited\n" and "dvc add data/database to keep the change" in caught.value.hint
    kept = path.read_bytes()
    box.shell(caught.value.hint.split("put it aside: ")[1])
    assert documents(box) == 96
    path.unlink()
    path.write_bytes(kept)  # and the other way: the edit is kept
    box.dvc("add", "-q", "data/database")
    box.commit("edited", "data/database.dvc")
    sync(box)
    assert path.read_text() == "edited\n"
    sync(box, dataset=head)
    assert documents(box) == 96


def test_an_edit_through_a_link_that_was_added_does_not_change_history(box) -> None:
    """`dvc add` gives the edited bytes a new name; under the old one the cache holds them too, and DVC believes it."""
    head, path = box.git("rev-parse", "HEAD"), links(box)
    push(box, head)
    sync(box)
    text = path.read_text()
    write_in_place(path, text.replace("Oslo", "Rome"))  # the same length
    box.dvc("add", "-q", "data/database")
    box.commit("Rome", "data/database.dvc")
    sync(box)
    said = sync(box, dataset=head)
    assert any("do not hold what their hash says" in line for line in said)
    assert path.read_text() == text
    sync(box)
    assert "Rome" in path.read_text()


def test_an_edit_through_a_link_of_a_version_that_nobody_pushed_is_told(box) -> None:
    head, path = box.git("rev-parse", "HEAD"), links(box)
    sync(box)
    write_in_place(path, "edited\n")
    box.dvc("add", "-q", "data/database")
    box.commit("edited", "data/database.dvc")
    with pytest.raises(DataError, match="neither in the cache nor on remote local"):
        sync(box, dataset=head)
    assert path.read_text() == "edited\n"


def test_a_large_object_is_hashed_once(box, monkeypatch) -> None:
    monkeypatch.setattr("explicitlm.vcs.cache.LARGE", 1)
    hashed: list[Path] = []
    real = cache._md5

    def counted(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr("explicitlm.vcs.cache._md5", counted)
    for revision in (older(box), "", older(box), ""):
        sync(box, dataset=revision)
    assert len(hashed) == 2


def test_a_deleted_folder_comes_back(box) -> None:
    sync(box)
    shutil.rmtree(box.root / "data/database")
    assert any("brought from the cache" in line for line in sync(box))
    assert documents(box) == 96


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


def test_data_that_is_nowhere_leaves_the_old_version(box) -> None:
    sync(box)
    md5 = target(box, older(box)).md5
    (box.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    before = box.snapshot()
    with pytest.raises(DataError, match="neither in the cache nor on remote local"):
        sync(box, dataset=older(box))
    assert box.snapshot() == before and documents(box) == 96
    assert any("database: unchanged" in line for line in sync(box))


def test_missing_objects_come_from_the_remote(box) -> None:
    with open_store(box.root) as data_store:
        data_store.push({"data/database": target(box, older(box))})
    shutil.rmtree(box.root / ".dvc/cache")
    sync(box, dataset=older(box))
    assert documents(box) == 48


SWITCH = """
import sys
from pathlib import Path
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.workspace import Workspace
project = Workspace(Path.cwd(), Path.cwd())
wanted = resolve(project, {item.param: "" for item in DATASETS} | {"dataset": sys.argv[1]})
whole = check_untouched(project, wanted)
print("switching", flush=True)
bring(project, wanted, whole)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("moment", [0.05, 0.4, 0.9])
def test_a_switch_that_dies_is_old_or_new_and_can_be_repeated(box, number: signal.Signals, moment: float) -> None:
    sync(box)
    process = subprocess.Popen([sys.executable, "-c", SWITCH, older(box)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    process.wait()
    assert number == signal.SIGKILL or documents(box) in (48, 96)  # killed it may be in between
    sync(box, dataset=older(box))
    assert documents(box) == 48
    sync(box)
    assert documents(box) == 96 and box.git("status", "--porcelain") == ""


def test_a_switch_that_fails_says_which_version_it_is(box, logged: list[str]) -> None:
    """Somebody takes a file away after it was looked at."""
    sync(box)
    wanted = resolve(workspace(box), {**CURRENT, "dataset": older(box)})
    whole = check_untouched(workspace(box), wanted)
    (box.root / "data/database/text.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        bring(workspace(box), wanted, whole)
    new = target(box, "").md5[:8]
    assert f"database: switch failed, back at the old version ({new})" in logged
    assert documents(box) == 96 and box.git("status", "--porcelain") == ""
    assert any("database: unchanged" in line for line in sync(box))
