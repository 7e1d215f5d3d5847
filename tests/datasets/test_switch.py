"""Bringing a version of a dataset, whatever lies in its place and whatever dies on the way; on real git and DVC."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from switching import CURRENT, documents, older, sync, target, workspace

from explicitlm.common.errors import DataError, StorageError
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.vcs import cache
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.dvc import Dvc


@pytest.fixture
def box(here):
    """The project, with this process in its environment."""
    return here


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
    env = box.real.env  # DVC, too, is to die at once
    words = [str(shutil.which("python", path=env["PATH"])), "-c", SWITCH, older(box)]
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
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
