"""Hostile inputs, one by one, through the commands that meet them: nothing outside the project, and no traceback."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_records import made
from sandbox import Sandbox

from explicitlm.cli.main import main
from explicitlm.common import layout
from explicitlm.common.errors import run_reporting
from explicitlm.lm.data.tokenizer import read_tokenizer
from explicitlm.pipeline import sync_data

pytestmark = pytest.mark.slow
MD5 = "0" * 32
ACT = "touch ../outside/acted"
ALIAS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12))

IDS = [
    "../outside/acted", "/var/../outside", "-rf", f"$({ACT})", f"`{ACT}`", f"x;{ACT}", "a\nb", "a\0b", "\ud800", "main",
    "FETCH_HEAD", "jobs", "HEAD~1", "x.lock", "a" * 300, "\u202eexp", "",
]  # fmt: skip
VERBS = [
    ("publish", "../../outside/acted"), ("publish", "a\0b"), ("conclude", "../../outside/acted", "words"),
    ("cluster", "post", "../../outside"), ("cluster", "push", "../../outside", "x"), ("export", "../../outside"),
    ("cluster", "submit", f"$({ACT})"), ("compare", "../../outside/acted"), ("data", "log", "../outside"),
]  # fmt: skip
VALUES = [
    f"seed=!!python/object/apply:os.system ['{ACT}']", "data.dataset=../../outside", "data.dataset=--output=acted",
    "data.dataset=a\0b", "__class__=1", "description=\ud800", "epochs=1e999", "epochs=" + "[" * 200, "seed=*a", "=",
    "against=../../outside/acted", f"expect=__import__('os').system('{ACT}')", "description=???",
]  # fmt: skip
RECORDS: dict[str, bytes | object] = {
    "nothing": b"", "half": b"{", "binary": b"\xff\xfe\0", "deep": b"[" * 100_000, "no number": b'{"seed": NaN}',
    "no object": b"3", "many digits": b'{"schema_version": ' + b"9" * 5000 + b"}", "another id": made("../../package"),
    "a newer one": made("evil") | {"schema_version": 10**9},
    "a text that steers": made("evil", description="\x1b]0;x\x07<script>\u202eevil[x](javascript:x)`|"),
}  # fmt: skip
POINTERS = {
    "elsewhere": f"outs:\n- md5: {MD5}.dir\n  path: ../../outside/acted\n",
    "absolute": f"outs:\n- md5: {MD5}.dir\n  path: /tmp/acted\n",
    "another folder": f"wdir: ../..\nouts:\n- md5: {MD5}.dir\n  path: database\n",
    "a command": f"cmd: {ACT}\nouts:\n- md5: {MD5}.dir\n  path: database\n",
    "code": f"outs: !!python/object/apply:os.system ['{ACT}']\n",
    "aliases of aliases": ALIAS, "a hash that is a path": "outs:\n- md5: ../../../outside\n  path: database\n",
    "several": f"outs:\n- md5: {MD5}.dir\n  path: database\n- md5: {MD5}.dir\n  path: x\n", "no mapping": "- x\n",
    "control characters": "\x00\x01",
}  # fmt: skip
LISTS: dict[str, object] = {
    "elsewhere": [{"md5": MD5, "relpath": "../../../outside/acted"}], "no list": {"md5": MD5},
    "absolute": [{"md5": MD5, "relpath": "/var/acted"}], "no name": [{"md5": MD5}],
    "a hash that is a path": [{"md5": "../../../../outside/acted", "relpath": "x"}], "deep": "[" * 100_000,
    "a name that is none": [{"md5": MD5, "relpath": "a\0b"}],
}  # fmt: skip
SENT = {
    "elsewhere": {"../../outside/acted": {"size": 1}}, "absolute": {"/var/acted": {"size": 1}},
    "no seal": {"x": 3}, "a negative size": {"x": {"size": "many"}},
}  # fmt: skip
TOKENIZERS = [b"\xff\xfe", b"[" * 100_000, b'{"model": {"type": "BPE"}}', b"{}", json.dumps({"model": 3}).encode()]


@pytest.fixture(scope="module")
def box(fresh: Callable[[Path], Sandbox], tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A project, with a folder beside it into which nothing may be written."""
    made_box = fresh(tmp_path_factory.mktemp("hostile"))
    (made_box.root.parent / "outside").mkdir()
    (made_box.root.parent / "outside/kept").write_text("the user's own")
    return made_box


@pytest.fixture
def harmless(box: Sandbox, monkeypatch, capfd) -> Callable[..., str]:
    """Runs a body in the project; gives what it printed, once nothing outside has changed and there is no traceback."""
    monkeypatch.chdir(box.root)
    box.export(monkeypatch)

    def run(*words: str, body: Callable[[], object] = main, refused: bool = True) -> str:
        before = _surroundings(box.root.parent)
        monkeypatch.setattr(sys, "argv", ["explicitlm", *words])
        with pytest.raises(SystemExit) as ended:
            body()
        said = "".join(capfd.readouterr())
        assert "Traceback" not in said and (ended.value.code in (1, 2, 3, 4) if refused else not ended.value.code), said
        assert not refused or "error: " in said or "Error" in said
        assert _surroundings(box.root.parent) == before
        assert not [letter for letter in said if not letter.isprintable() and letter not in "\n\t"]
        return said

    return run


def _surroundings(base: Path) -> dict[str, str]:
    names = {str(path) for path in base.iterdir()}
    return {str(path): path.read_text() for path in (base / "outside").rglob("*")} | dict.fromkeys(names, "")


def test_fifty_of_them() -> None:
    kinds = (IDS, VERBS, VALUES, RECORDS, POINTERS, LISTS, SENT, TOKENIZERS)
    assert sum(len(kind) for kind in kinds) >= 50


@pytest.mark.parametrize("name", IDS)
def test_an_id(harmless, name: str) -> None:
    harmless("run", "--", name)


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_an_argument(harmless, words: tuple[str, ...]) -> None:
    harmless(*words)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:30]))
def test_a_value(harmless, value: str) -> None:
    harmless("run", "exp_1", value)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record(box, harmless, name: str) -> None:
    content, path = RECORDS[name], box.root / layout.record("evil")
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    try:
        said = harmless("index", refused=False)
        assert ("warning: " in said) == (name != "a text that steers")
        assert "<script>" not in said and not re.search(r"(?<!\\)\]\(javascript", said)
        harmless("publish", "evil")
        harmless("run", "evil")
    finally:
        path.unlink()


@pytest.mark.parametrize("name", POINTERS)
def test_a_pointer(box, harmless, name: str) -> None:
    path = box.root / "data/database.dvc"
    own = path.read_text()
    path.write_text(POINTERS[name])
    try:
        harmless("run", "exp_1")
    finally:
        path.write_text(own)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_files(box, harmless, monkeypatch, name: str) -> None:
    content = LISTS[name]
    listed = box.root / ".dvc/cache/files/md5/00" / f"{'0' * 30}.dir"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text(content if isinstance(content, str) else json.dumps(content))
    path = box.root / "data/database.dvc"
    own = path.read_text()
    path.write_text(f"outs:\n- md5: {MD5}.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: database\n")
    box.commit("a colleague's", "data/database.dvc")
    path.write_text(own)
    box.commit("back", "data/database.dvc")
    box.set_params(data={"dataset": "HEAD~1", "val_dataset": "", "embedding": "", "database_init": "", "cache": ""})
    monkeypatch.setenv("DVC_EXP_NAME", "exp_1")
    try:
        harmless(body=lambda: sys.exit(run_reporting(sync_data.main)))
        assert path.read_text() == own
    finally:
        box.git("checkout", "-q", "--", "params.yaml")


@pytest.mark.parametrize("name", SENT)
def test_a_tree(box, harmless, name: str) -> None:
    tree = box.root / layout.cluster_tree("exp_1")
    (tree / layout.SENT).parent.mkdir(parents=True, exist_ok=True)
    (tree / layout.SENT).write_text(
        json.dumps({"schema_version": 1, "experiment": "exp_1", "sealed_at": "", "files": SENT[name]})
    )
    harmless("cluster", "post", "exp_1")
    harmless("cluster", "train", "exp_1")
    harmless("cluster", "push", "exp_1", str(box.root / "node"))


@pytest.mark.parametrize("content", TOKENIZERS, ids=lambda content: repr(content[:20]))
def test_a_tokenizer(box, harmless, content: bytes) -> None:
    path = box.root / "tokenizer.json"
    path.write_bytes(content)
    harmless(body=lambda: sys.exit(run_reporting(lambda: 0 if read_tokenizer(path, 300) else 1)))
