"""Moving exactly named versions between cache and remote, with a remote that lies."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from explicitlm.common.errors import DataError, StorageError
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.pointer import Pointer, parse_pointer


def pointer_of(root: Path, name: str) -> Pointer:
    return parse_pointer((root / f"data/{name}.dvc").read_text(), name)


def object_path(store: Path, md5: str) -> Path:
    return store / "files/md5" / md5[:2] / md5[2:]


def test_push_then_fetch_brings_every_object(project, monkeypatch) -> None:
    project.export(monkeypatch)
    pointer, store = pointer_of(project.root, "database"), project.root.parent / "explicitlm-storage"
    with open_store(project.root) as data_store:
        assert data_store.missing(pointer) == []
        data_store.push({"data/database": pointer})
    assert object_path(store, pointer.md5).exists()
    shutil.rmtree(project.root / ".dvc/cache")
    with open_store(project.root) as data_store:
        assert data_store.missing(pointer) == [pointer.md5]
        data_store.fetch({"data/database": pointer})
        assert data_store.missing(pointer) == []
    assert list((project.root / ".dvc/tmp").glob("explicitlm-store-*")) == []
    assert project.git("status", "--porcelain") == ""


def test_a_remote_that_lost_an_object_is_repaired(project, monkeypatch) -> None:
    """DVC says "everything is up to date" as long as the folder's list is there."""
    project.export(monkeypatch)
    pointer, store = pointer_of(project.root, "database"), project.root.parent / "explicitlm-storage"
    with open_store(project.root) as data_store:
        data_store.push({"data/database": pointer})
        lost = object_path(store, data_store.parts(pointer)[0])
        lost.unlink()
        data_store.push({"data/database": pointer})
        assert lost.exists()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"X" + content[1:]])
def test_what_a_store_keeps_otherwise_is_sent_again_or_told(project, monkeypatch, times: int, damage) -> None:
    project.export(monkeypatch)
    pointer, store = pointer_of(project.root, "database"), project.root.parent / "explicitlm-storage"
    with open_store(project.root) as data_store:
        victim, send, sent = object_path(store, data_store.parts(pointer)[0]), data_store._send, []

        def send_to_a_bad_store(*what: Any) -> None:
            send(*what)
            sent.append(victim.read_bytes())
            if len(sent) <= times:
                victim.chmod(0o644)
                victim.write_bytes(damage(sent[0]))

        monkeypatch.setattr(data_store, "_send", send_to_a_bad_store)
        told = nullcontext() if times == 1 else pytest.raises(StorageError, match=r"lacks 1 object\(s\) that were sent")
        with told:
            data_store.push({"data/database": pointer})
    assert len(sent) == 2 and (victim.read_bytes() == sent[0]) == (times == 1)


def test_data_that_is_nowhere_is_named(project, monkeypatch) -> None:
    project.export(monkeypatch)
    shutil.rmtree(project.root / ".dvc/cache")
    with open_store(project.root) as data_store, pytest.raises(DataError) as caught:
        data_store.fetch({"data/database": pointer_of(project.root, "database")})
    assert "data/database" in caught.value.cause
    assert "neither in the cache nor on remote local" in caught.value.cause
    assert "explicitlm data push database" in caught.value.hint


@pytest.mark.hint("dvc pull {}.dvc (it was imported: DVC fetches it from where it comes from)")
@pytest.mark.slow
def test_an_import_from_a_repository_beside_is_never_called_damaged(project, tmp_path: Path, monkeypatch) -> None:
    """Its source is a relative path, which means something in the clone only; published, our own remote has it."""
    project.export(monkeypatch)
    upstream = type(project)(tmp_path / "upstream", project.env)
    (upstream.root / "corpus").mkdir(parents=True)
    (upstream.root / "corpus/text.jsonl").write_text('{"text": "imported"}\n' * 20)
    upstream.git("init", "-q")
    upstream.dvc("init", "-q")
    upstream.dvc("add", "-q", "corpus")
    upstream.git("add", "-A")
    upstream.git("commit", "-qm", "corpus")
    shutil.rmtree(project.root / "data/database")
    (project.root / "data/database.dvc").unlink()
    project.dvc("import", "-q", "../upstream", "corpus", "-o", "data/database")
    project.commit("import", "data/database.dvc")

    clone = project.clone("clone")
    path = clone.root / "data/database.dvc"
    pointer = parse_pointer(path.read_text(), "data/database.dvc")
    assert pointer.imported
    with open_store(clone.root) as data_store, pytest.raises(DataError) as caught:
        data_store.fetch({"data/database": pointer})
    assert "neither in the cache nor on remote" in caught.value.cause and "damaged" not in caught.value.cause
    clone.shell(caught.value.hint.split(" (")[0])
    assert (clone.root / "data/database/text.jsonl").is_file()

    with open_store(project.root) as data_store:
        data_store.push({"data/database": pointer})
    upstream.root.rename(tmp_path / "gone")
    shutil.rmtree(clone.root / ".dvc/cache")
    with open_store(clone.root) as data_store:
        data_store.fetch({"data/database": pointer})
        assert data_store.missing(pointer) == []
    assert path.read_text() == (project.root / "data/database.dvc").read_text(), "the user's own file stays"
