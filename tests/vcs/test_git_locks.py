"""A lock that a killed git left is named with the command; one of a living git is waited for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.vcs.git import Git

LOCKS = ("index.lock", "HEAD.lock", "refs/heads/main.lock")


@pytest.fixture
def box(bare_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for key, value in bare_env.items():
        monkeypatch.setenv(key, value)
    root = tmp_path / "it's here"
    root.mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    (root / "record").write_text("content")
    return root


@pytest.mark.hint("rm -f {} (no git is at work here), then the same command")
@pytest.mark.parametrize("name", LOCKS)
def test_of_a_killed_git_the_command_that_removes_it_is_named(box: Path, name: str) -> None:
    (box / ".git" / name).touch()
    for step in (lambda: Git(box).check_committable(), lambda: Git(box).commit_only("record", "record")):
        with pytest.raises(UsageError) as caught:
            step()
        assert name in caught.value.cause and caught.value.hint.startswith("rm -f ")
    subprocess.run(["bash", "-c", caught.value.hint.split(" (")[0]], cwd=box, check=True)
    Git(box).check_committable()
    assert Git(box).commit_only("record", "record")


def test_an_object_that_a_killed_dvc_was_writing_can_be_written_again(box: Path) -> None:
    folder = box / ".git/objects/8c"
    folder.mkdir(exist_ok=True)
    lock = folder / "3b59534b5df8f06ef18c48ac8f659151cebe0b.lock"
    lock.touch()
    with pytest.raises(UsageError, match=lock.name) as caught:
        Git(box).check_committable()
    subprocess.run(["bash", "-c", caught.value.hint.split(" (")[0]], cwd=box, check=True)
    Git(box).check_committable()


@pytest.mark.hint("another git is at work here (process {}): wait for it, then the same command")
def test_of_a_living_git_it_is_waited_for(box: Path) -> None:
    (box / ".git/index.lock").touch()
    with subprocess.Popen(["git", "cat-file", "--batch"], cwd=box, stdin=subprocess.PIPE) as other:
        Git(box).check_committable()
        with pytest.raises(UsageError, match=r"index\.lock") as caught:
            Git(box).commit_only("record", "record")
        assert (
            caught.value.hint
            == f"another git is at work here (process {other.pid}): wait for it, then the same command"
        )
        assert other.stdin is not None
        other.stdin.close()
