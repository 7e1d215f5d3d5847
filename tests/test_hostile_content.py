"""Content of a colleague's commit, a store or a compute node is refused by name before it acts outside the project."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from made_records import made

from explicitlm.cluster import receipt, transfer
from explicitlm.cluster.receipt import FileSeal, Returned, Sent
from explicitlm.common import layout
from explicitlm.common.errors import ConfigError, DataError, UsageError
from explicitlm.common.files import sha256, write_json
from explicitlm.common.names import linked_folders
from explicitlm.datasets.resolve import DatasetPlan
from explicitlm.datasets.switch import bring
from explicitlm.datasets.table import TEXT
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.tokenizer import SPECIAL_TOKENS, TextTokenizer, read_tokenizer
from explicitlm.lm.typed import dump
from explicitlm.pipeline.params import parse_params
from explicitlm.records import publish, store
from explicitlm.records.manifest import CodeVersion, Manifest, load_sealed, save_sealed
from explicitlm.vcs.cache import Cache
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace

MD5 = "217fb92e28173c0381b22e24d4f07b2a"
OUTSIDE = ["/etc/x", "../x", "a/../../x", "..", ".", "", "a//b", "a/", "a\0b", "\ud800"]


def listing(folder: Path, content: object) -> tuple[Cache, Pointer]:
    path = folder / "cache/files/md5" / MD5[:2] / f"{MD5[2:]}.dir"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return Cache(folder / "cache", ("copy",), folder / "memo.json"), Pointer(f"{MD5}.dir", 1, 1, "database")


@pytest.mark.parametrize("name", [*OUTSIDE, None, 3])
def test_a_list_that_names_files_elsewhere_is_refused(tmp_path: Path, name: object) -> None:
    cache, pointer = listing(tmp_path, [{"md5": MD5, "relpath": "good"}, {"md5": MD5, "relpath": name}])
    for use in (cache.missing, cache.entries, cache.parts, cache.names):
        with pytest.raises(DataError) as caught:
            use(pointer)
        assert repr(name) in caught.value.cause


@pytest.mark.parametrize("md5", ["../../../../x", "", "/etc/passwd", MD5.upper(), f"{MD5}.dir", None])
def test_a_list_with_hashes_that_are_paths_is_refused(tmp_path: Path, md5: object) -> None:
    cache, pointer = listing(tmp_path, [{"md5": md5, "relpath": "x.json"}])
    with pytest.raises(DataError, match=r"x\.json"):
        cache.parts(pointer)


@pytest.mark.parametrize("content", [{}, 3, "text", [3], None])
def test_what_is_no_list_is_refused(tmp_path: Path, content: object) -> None:
    cache, pointer = listing(tmp_path, content)
    with pytest.raises(DataError, match="database"):
        cache.parts(pointer)


def test_a_list_of_plain_names_is_read(tmp_path: Path) -> None:
    names = ["a", "b/c.json", "知识/..x", "two\nlines"]
    cache, pointer = listing(tmp_path, [{"md5": MD5, "relpath": name} for name in names])
    assert cache.entries(pointer) == dict.fromkeys(names, MD5)


def test_links_on_the_way_to_a_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/link").symlink_to(tmp_path / "outside")
    assert linked_folders(tmp_path / "data", ["a/link/deep/x", "a/y", "z"]) == ["a/link"]


def test_a_switch_through_a_link_writes_and_removes_nothing(project, tmp_path: Path, monkeypatch) -> None:
    project.export(monkeypatch)
    folder, outside = project.root / TEXT.path, tmp_path / "outside"
    outside.mkdir()
    (outside / "x.jsonl").write_text("the user's own")
    with open_store(project.root) as data_store:
        current = parse_pointer((project.root / TEXT.pointer).read_text(), TEXT.pointer)
        files = [{"md5": data_store.parts(current)[0], "relpath": "link/x.jsonl"}]
    target = Pointer("0" * 32 + ".dir", 1, 1, TEXT.folder)
    write_json(project.root / ".dvc/cache/files/md5/00" / f"{'0' * 30}.dir", {})
    (project.root / ".dvc/cache/files/md5/00" / f"{'0' * 30}.dir").write_text(json.dumps(files))
    (folder / "link").symlink_to(outside)
    before = (project.root / TEXT.pointer).read_text()
    plan = DatasetPlan(TEXT, current=current, version=None, target=target)
    with pytest.raises(DataError, match="link is a link"):
        bring(Workspace(project.root, project.root), [plan], {TEXT.folder: True})
    assert (outside / "x.jsonl").read_text() == "the user's own"
    assert (project.root / TEXT.pointer).read_text() == before


@pytest.mark.parametrize("name", ["/any/x", "../x", "..", ".", "a/b", "''", "other", "database/"])
def test_a_pointer_to_other_data_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"data/database\.dvc is"):
        parse_pointer(f"outs:\n- md5: {MD5}.dir\n  path: {name}\n", "data/database.dvc", "database")


@pytest.mark.parametrize("more", ["wdir: ../..", "cmd: touch /tmp/x"])
def test_a_pointer_that_acts_is_refused(more: str) -> None:
    with pytest.raises(DataError, match=more.split(":")[0]):
        parse_pointer(f"{more}\nouts:\n- md5: {MD5}.dir\n  path: database\n", "data/database.dvc")


FORGED = ["../../package", "/etc/x", "main", "a..b", "x/y", ""]


@pytest.mark.parametrize("name", [*FORGED, "exp_2"])
def test_the_record_of_another_experiment_is_refused(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / layout.record("exp_1"), made(name))
    with pytest.raises(UsageError) as caught:
        store.load(tmp_path, "exp_1")
    assert repr(name) in caught.value.cause


def manifest(name: str) -> Manifest:
    code = CodeVersion(commit="c" * 40, dirty=False, changed=[], diff_sha256=None, untracked=[], files={})
    return Manifest(
        id=name, description="", created_at="2026-01-01", started_by="x", command="x", code=code,
        data={}, hyperparameters=TrainConfig(), changed_params={},
    )  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_manifest_with_a_forged_id_is_refused(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "manifest.json", dump(manifest("exp_1")) | {"id": name})
    with pytest.raises(UsageError, match="no experiment can be called so"):
        load_sealed(tmp_path / "manifest.json", Manifest, "")


def test_the_manifest_of_another_experiment_is_not_published(tmp_path: Path) -> None:
    save_sealed(tmp_path / layout.run_dir("exp_1") / "manifest.json", manifest("exp_2"))
    with pytest.raises(UsageError, match="'exp_2', not of 'exp_1'"):
        publish.unfinished(tmp_path, "exp_1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree in which a training has left its outputs, sealed."""
    root = tmp_path / "exp_1"
    for name in (layout.CHECKPOINT, layout.run_dir("exp_1"), "logs", layout.RUN, "src/explicitlm", layout.POINTERS):
        if name != layout.CHECKPOINT:
            (root / name).mkdir(parents=True, exist_ok=True)
    (root / layout.CHECKPOINTS).symlink_to(layout.POINTERS)
    (root / layout.CHECKPOINT).mkdir()
    (root / layout.CHECKPOINT / "model.safetensors").write_text("weights")
    (root / layout.log("exp_1")).write_text("log")
    (root / "src/explicitlm/__init__.py").write_text("")
    (root / layout.PIPELINE).write_text(f"stages:\n  train:\n    cmd: x\n    outs:\n    - {layout.CHECKPOINT}\n")
    seal = FileSeal(size=0, sha256=sha256(b""))
    sent = Sent(experiment="exp_1", sealed_at="now", files={"src/explicitlm/__init__.py": seal})
    save_sealed(root / layout.SENT, sent)
    return root


def test_what_a_training_leaves_passes(tree: Path) -> None:
    returned = receipt.seal_returned(tree, "exp_1", "finished")
    receipt.check_returned(tree, "exp_1", receipt.load_returned(tree, "exp_1"))
    assert set(returned.files) == {f"{layout.CHECKPOINT}/model.safetensors", layout.log("exp_1")}
    receipt.check_sent(tree, receipt.load_sent(tree))


LINKS = [
    f"{layout.CHECKPOINT}/netrc", layout.log("exp_1"), f"{layout.run_dir('exp_1')}/a", layout.run_dir("exp_1"), "logs",
]  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_came_back_is_named_and_not_followed(tree: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    if (tree / name).exists():
        (tree / name).rename(tmp_path / "was")
    (tree / name).symlink_to(tmp_path / "outside")
    returned = receipt.seal_returned(tree, "exp_1", "finished")
    with pytest.raises(DataError, match=name):
        receipt.check_returned(tree, "exp_1", returned)


def test_only_links_of_dvc_to_the_cache_are_taken_for_its_own(tree: Path, tmp_path: Path) -> None:
    """As an earlier `post` leaves them where the cache is on another disk."""
    main, cache = tmp_path / "main", tmp_path / "cache"
    for folder in (main / ".dvc", main / layout.CLUSTER, cache / "files/md5/ab"):
        folder.mkdir(parents=True)
    (main / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n")
    tree = tree.rename(main / layout.cluster_tree("exp_1"))
    weights = tree / layout.CHECKPOINT / "model.safetensors"
    returned = receipt.seal_returned(tree, "exp_1", "finished")
    weights.rename(cache / "files/md5/ab/c")
    weights.symlink_to(cache / "files/md5/ab/c")
    receipt.check_returned(tree, "exp_1", returned)
    (cache / "files/md5/ab/c").rename(cache / "c")
    weights.unlink()
    weights.symlink_to(cache / "files/md5/../../c")
    with pytest.raises(DataError, match="links came back"):
        receipt.check_returned(tree, "exp_1", returned)


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name != "\ud800"])
@pytest.mark.parametrize(("kind", "path"), [(Sent, layout.SENT), (Returned, layout.RETURNED)])
def test_receipts_name_files_of_the_tree_only(tree: Path, kind, path: str, name: str) -> None:
    more = {"sent": "", "status": "finished"} if kind is Returned else {}
    files = {name: {"size": 1, "sha256": "x"}}
    write_json(tree / path, {"experiment": "exp_1", "sealed_at": "now", "files": files} | more)
    with pytest.raises(UsageError, match="inside the project"):
        load_sealed(tree / path, kind, "")


def test_a_receipt_lists_only_what_a_training_writes(tree: Path) -> None:
    sent = sha256((tree / layout.SENT).read_bytes())
    files = {"src/explicitlm/__init__.py": FileSeal(size=0, sha256=sha256(b""))}
    returned = Returned(experiment="exp_1", sealed_at="now", sent=sent, status="finished", files=files)
    with pytest.raises(DataError, match="what no training writes: src/explicitlm"):
        receipt.check_returned(tree, "exp_1", returned)


PLANTED = [
    "sitecustomize.py", "usercustomize.py", "x.pth", "torch.so", "accelerate/__init__.py", "torch/__init__.py",
    "src/sitecustomize.py", "src/x.pth", "src/torch/__init__.py", "src/numpy/core.py", "src/explicitlm/more.py",
]  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_code_that_nobody_sent_is_refused(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("")
    with pytest.raises(DataError, match=name):
        receipt.check_imports(tree, receipt.load_sent(tree))


def test_compiled_code_that_nobody_sent_is_not_run(tree: Path, tmp_path: Path) -> None:
    source = tree / "src/explicitlm/__init__.py"
    forged = Path(importlib.util.cache_from_source(str(source)))
    forged.parent.mkdir()
    stamp = struct.pack("<II", int(source.stat().st_mtime), source.stat().st_size)
    act = compile(f"open({str(tmp_path / 'acted')!r}, 'w')", "x", "exec")
    forged.write_bytes(importlib.util.MAGIC_NUMBER + b"\0" * 4 + stamp + marshal.dumps(act))
    words = [sys.executable, "-B", "-c", "import explicitlm"]
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    subprocess.run(words, env=environment, check=True)
    assert (tmp_path / "acted").exists()  # so Python takes it for the source's
    (tmp_path / "acted").unlink()
    (tmp_path / "outside").mkdir()
    (tree / "__pycache__").symlink_to(tmp_path / "outside")
    receipt.check_imports(tree, receipt.load_sent(tree))
    subprocess.run(words, env=environment, check=True)
    assert not (tmp_path / "acted").exists() and not (tree / "__pycache__").exists() and (tmp_path / "outside").exists()


def test_newlines_in_names_travel(tmp_path: Path) -> None:
    name = "data/two\nlines"
    tree = tmp_path / layout.cluster_tree("exp_1")
    (tree / "data").mkdir(parents=True)
    (tree / name).write_text("x")
    sent = Sent(experiment="exp_1", sealed_at="now", files={name: FileSeal(size=1, sha256=sha256(b"x"))})
    save_sealed(tree / layout.SENT, sent)
    transfer.push(tmp_path, "exp_1", str(tmp_path / "node"))
    assert receipt.differences(tmp_path / "node/exp_1", sent.files) == []


def test_the_store_holds_no_secret_on_the_disk(project, monkeypatch) -> None:
    """Neither as it stands nor while DVC transfers; DVC's own process and the one in ours read it all the same."""
    project.export(monkeypatch)
    local = project.root / ".dvc/config.local"
    local.write_text("['remote \"far\"']\n    url = s3://b\n    secret_access_key = planted-secret\n")
    seen: list[int] = []

    def look() -> None:
        files = [path for path in (project.root / ".dvc/tmp").rglob("*") if path.is_file() and not path.is_symlink()]
        for path in files:
            with suppress(FileNotFoundError):  # DVC is at work: its temporary files come and go
                assert b"planted-secret" not in path.read_bytes(), path
        seen.append(len(files))

    with open_store(project.root) as data_store:
        words = [sys.executable, "-m", "dvc", "config", "remote.far.secret_access_key"]
        done = subprocess.run(words, cwd=data_store.folder, capture_output=True, text=True, env=os.environ)
        assert done.stdout.strip() == "planted-secret"
        pointer = parse_pointer((project.root / TEXT.pointer).read_text(), TEXT.pointer)
        look()
        monkeypatch.setattr("explicitlm.vcs.dvc.WATCH_S", 0.1)
        monkeypatch.setattr("explicitlm.vcs.data_store.watching", lambda *_: look)
        data_store.push({TEXT.path: pointer})
        held = (data_store.folder / ".dvc/config").readlink()
    assert len(seen) > 1 and not held.exists()


@pytest.mark.parametrize("key", ["description", "against", "expect"])
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udc80"])
def test_a_text_that_no_file_holds_is_a_message(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=key):
        parse_params({**dump(TrainConfig()), "data": {}, key: text}, "params.yaml")


def tokenizer(**model: object) -> str:
    vocab = {token: number for number, token in enumerate((*SPECIAL_TOKENS, "a", "b", "ab"))}
    tokens = [{"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
               "normalized": False, "special": True} for number, token in enumerate(SPECIAL_TOKENS)]  # fmt: skip
    return json.dumps(
        {"version": "1.0", "added_tokens": tokens, "model": {"type": "BPE", "vocab": vocab, "merges": []} | model}
    )


def test_a_tokenizer_that_panics_its_library_is_a_message(tmp_path: Path) -> None:
    TextTokenizer(tokenizer(), "good")
    with pytest.raises(DataError, match="bad is not a tokenizer"):
        TextTokenizer(tokenizer(merges=["a b"], continuing_subword_prefix="more than b"), "bad")
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not a tokenizer"):
        read_tokenizer(tmp_path / "tokenizer.json", 300)
