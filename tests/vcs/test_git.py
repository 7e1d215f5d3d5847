"""Git's answers do not depend on who asks: configuration, variables and hooks of all kinds change nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.vcs import worktree
from explicitlm.vcs.git import Git
from explicitlm.vcs.worktree import Worktree

HOSTILE = """
[user]
    name = Tester
    email = tester@example.org
[tag]
    gpgSign = true
    forceSignAnnotated = true
[log]
    showSignature = true
    follow = true
    date = relative
[color]
    ui = always
[core]
    pager = false
    editor = sleep 1000
    quotePath = true
    autocrlf = true
    safecrlf = true
    hooksPath = {hooks}
    fsmonitor = {hooks}/pre-commit
[diff]
    noprefix = true
    external = false
    renames = copies
    context = 9
    algorithm = histogram
[commit]
    template = /nonexistent
    cleanup = strip
    verbose = true
[i18n]
    logOutputEncoding = ISO-8859-1
    commitEncoding = ISO-8859-1
[format]
    pretty = fuller
[status]
    relativePaths = true
[advice]
    addIgnoredFile = true
"""
HOOKS = ("pre-commit", "commit-msg", "post-commit", "post-checkout", "reference-transaction", "prepare-commit-msg")
# What a hook, `git rebase --exec` or an IDE leaves in the environment
LEFT = {"GIT_DIR": "/nonexistent", "GIT_WORK_TREE": "/", "GIT_INDEX_FILE": "/nonexistent/index", "GIT_PREFIX": "x/",
        "GIT_CONFIG_PARAMETERS": "'core.bare=true'", "GIT_CONFIG_COUNT": "nonsense", "GIT_OBJECT_DIRECTORY": "/none",
        "GIT_TRACE": "2", "GIT_DIFF_OPTS": "-u0", "GIT_LITERAL_PATHSPECS": "1", "GIT_PAGER": "false",
        "GIT_EXTERNAL_DIFF": "false", "LC_ALL": "C", "LANG": "zh_CN.UTF-8", "LANGUAGE": "de"}  # fmt: skip


def plain(root: Path, *args: str) -> str:
    """Git as a bare process, with nothing of ours."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    done = subprocess.run(["git", *identity, *args], cwd=root, env=env, capture_output=True, check=True)
    return done.stdout.decode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, a merge that drops a side's version, a change, and an untracked file with a Chinese name."""
    root = tmp_path / "仓库"
    root.mkdir()
    plain(root, "init", "-q", "-b", "main")
    (root / "code.py").write_text("one\ntwo\n")
    (root / "data.dvc").write_text("version 1\n")
    plain(root, "add", "-A")
    plain(root, "commit", "-qm", "first\tcommit: 第一")
    plain(root, "switch", "-qc", "side")
    (root / "data.dvc").write_text("version of the side\n")
    plain(root, "commit", "-qam", "side")
    plain(root, "switch", "-q", "main")
    (root / "data.dvc").write_text("version 2\n")
    plain(root, "commit", "-qam", "second")
    plain(root, "merge", "-q", "-s", "ours", "-m", "merge", "side")
    plain(root, "branch", "-qD", "side")
    (root / "code.py").write_text("one\nthree\n")
    (root / "笔记.txt").write_text("mine\n")
    return root


@pytest.fixture
def hostile(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same repository for a person whose configuration and environment change all that they can."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in HOOKS:
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
        hook.chmod(0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text(HOSTILE.format(hooks=hooks))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key, value in LEFT.items():
        monkeypatch.setenv(key, value)
    return repository


def answers(root: Path) -> dict[str, object]:
    """Everything that is read."""
    git = Git(root)
    return {
        "head": git.head,
        "branch": git.branch(),
        "history": git.history("data.dvc"),
        "committed": sorted(git.committed("data.dvc")),
        "changed": git.changed(()),
        "without": git.changed(("code.py",)),
        "digest": git.diff_digest(()),
        "untracked": git.untracked(()),
        "read": git.read("HEAD", "data.dvc"),
        "on branches": git.history("data.dvc", branches_only=True),
        "resolve": git.resolve("HEAD~1"),
        "shallow": git.is_shallow(),
        "names": git.names("HEAD", "."),
    }


def test_every_answer_is_that_of_a_bare_configuration(
    repository: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    bare = answers(repository)
    assert bare["branch"] == "main" and bare["changed"] == ["code.py"] and bare["untracked"] == ["笔记.txt"]
    assert bare["read"] == "version 2\n" and bare["without"] == []
    assert bare["committed"] == ["version 1\n", "version 2\n", "version of the side\n"]
    history = bare["history"]
    assert isinstance(history, list) and history[-1][2] == "first\tcommit: 第一"
    request.getfixturevalue("hostile")
    assert answers(repository) == bare


def test_a_commit_of_ours_is_exact_and_asks_nobody(hostile: Path, tmp_path: Path) -> None:
    git = Git(hostile)
    content = b'{\n  "text": "\xe4\xb8\xad"\n}\n'
    (hostile / "record.json").write_bytes(content)
    (hostile / "ignored").mkdir()
    (hostile / "ignored/x.dvc").write_bytes(b"outs:\r\n")  # bytes are kept, whatever core.autocrlf says
    (hostile / ".gitignore").write_text("ignored/\n")
    message = "chore: 添加\n\n# a line that commit.cleanup would drop"
    commit = git.commit_only(message, "record.json", "ignored/x.dvc")
    assert commit is not None
    assert plain(hostile, "show", "--format=%B", "--name-only", commit).split("\n\n", 2)[1].startswith("# a line")
    assert plain(hostile, "diff", "--name-only", "HEAD~1", "HEAD").split() == ["ignored/x.dvc", "record.json"]
    assert subprocess.check_output(["git", "-C", hostile, "cat-file", "blob", "HEAD:record.json"],
                                   env={"PATH": os.environ["PATH"]}) == content  # fmt: skip
    assert git.read("HEAD", "ignored/x.dvc") == "outs:\r\n"
    assert plain(hostile, "status", "--porcelain", "--untracked-files=no").strip() == "M code.py", "only the user's own"
    assert git.commit_only(message, "record.json", "ignored/x.dvc") is None
    git.tag("exp_001", commit, "exp_001 - words")
    assert git.tag_commit("exp_001") == commit
    assert plain(hostile, "tag", "-n", "-l", "exp_001").split() == ["exp_001", "exp_001", "-", "words"]
    assert not (tmp_path / "hook-ran").exists()


def test_what_is_staged_stays_staged(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_NAME", "t")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "t")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "t")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "t")
    plain(repository, "add", "code.py")
    (repository / "record.json").write_text("{}")
    assert Git(repository).commit_only("record", "record.json")
    assert plain(repository, "status", "--porcelain", "--untracked-files=no") == "M  code.py\n"


def test_a_worktree_has_the_bytes_of_its_commit_and_runs_no_hook(hostile: Path, tmp_path: Path) -> None:
    worktree.add(hostile, tmp_path / "tree")
    assert (tmp_path / "tree/data.dvc").read_bytes() == b"version 2\n"
    assert (tmp_path / "tree/code.py").read_bytes() == b"one\nthree\n", "with the user's uncommitted change"
    tree = Worktree(tmp_path / "tree")
    assert tree.tracked() == ["code.py", "data.dvc"]
    commit = tree.save_experiment("exp_001")
    assert Git(hostile).experiments() == {"exp_001": [commit]}
    assert Git(hostile).read(commit, "code.py") == "one\nthree\n"
    worktree.remove(hostile, tmp_path / "tree")
    assert not (tmp_path / "tree").exists() and not (tmp_path / "hook-ran").exists()


def test_a_tag_and_a_branch_of_one_name_are_told_apart(repository: Path) -> None:
    plain(repository, "branch", "twin", "HEAD~1")
    plain(repository, "tag", "twin", "HEAD")
    plain(repository, "tag", "main", "HEAD~1")
    git = Git(repository)
    assert git.tag_commit("twin") == plain(repository, "rev-parse", "refs/tags/twin").strip()
    assert git.branch() == "main" and "twin" in git.branches() and git.tags() == ["main", "twin"]


def test_a_tag_below_another_is_refused_in_words(repository: Path) -> None:
    plain(repository, "tag", "exp_b/old")
    plain(repository, "config", "user.email", "tester@example.org")  # a tag of ours names who made it
    plain(repository, "config", "user.name", "Tester")
    with pytest.raises(UsageError, match="exp_b") as caught:
        Git(repository).tag("exp_b", Git(repository).head, "exp_b - words")
    assert "git tag -l" in caught.value.hint


def test_a_folder_of_another_owner_is_told_in_gits_own_words(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setattr("explicitlm.vcs.git_command.KEPT", ("GIT_TEST_",))
    with pytest.raises(UsageError, match="dubious ownership") as caught:
        Git(repository)
    assert caught.value.hint.startswith("git config --global --add safe.directory ")


def test_no_repository_and_no_commit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not inside a git repository"):
        Git(tmp_path)
    plain(tmp_path, "init", "-q")
    with pytest.raises(UsageError, match="has no commit yet"):
        Git(tmp_path)
    with pytest.raises(UsageError, match="the folder is gone"):
        Git(tmp_path / "nowhere")


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A git configuration that knows who commits; gives its file."""
    home = tmp_path / "person"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = t\n\temail = t@example.org\n[commit]\n\tgpgsign = true\n")
    monkeypatch.setenv("HOME", str(home))
    return home / ".gitconfig"


def test_a_signature_that_cannot_be_made_is_known_before(repository: Path, person: Path) -> None:
    with pytest.raises(UsageError, match="commits are to be signed here") as caught:
        Git(repository).check_committable()
    plain(repository, *caught.value.hint.split("for this clone: git ")[1].split())
    Git(repository).check_committable()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_signature_that_is_wanted_is_made(repository: Path, person: Path) -> None:
    key = person.parent / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with person.open("a") as file:
        file.write(f"[gpg]\n\tformat = ssh\n[user]\n\tsigningkey = {key}\n")
    git = Git(repository)
    git.check_committable()
    (repository / "record.json").write_text("{}")
    commit = git.commit_only("record", "record.json")
    assert commit and "gpgsig -----BEGIN SSH SIGNATURE" in plain(repository, "cat-file", "commit", commit)


@pytest.mark.hint("finish it (git status, then {}), then the same command")
@pytest.mark.parametrize("kind", ["merge", "rebase", "cherry-pick", "detached"])
def test_in_the_middle_of_something_nothing_is_begun(repository: Path, kind: str) -> None:
    plain(repository, "checkout", "-q", "--", ".")
    plain(repository, "switch", "-qc", "other", "HEAD~1")
    (repository / "code.py").write_text("other\n")
    plain(repository, "commit", "-qam", "other")
    plain(repository, "switch", "-q", "main")
    (repository / "code.py").write_text("ours\n")
    plain(repository, "commit", "-qam", "ours")
    if kind == "detached":
        plain(repository, "switch", "-q", "--detach")
    else:
        with pytest.raises(subprocess.CalledProcessError):
            plain(repository, kind, "other")
    with pytest.raises(UsageError) as caught:
        Git(repository).check_committable()
    if kind == "detached":
        assert "HEAD is detached" in caught.value.cause
        plain(repository, *caught.value.hint.removeprefix("git ").split(",")[0].split())
        assert Git(repository).branch() == "main"
    else:
        assert f"a {kind} is going on" in caught.value.cause and f"git {kind} --continue" in caught.value.hint


@pytest.mark.hint("git config core.splitIndex false && git update-index --no-split-index")
def test_an_index_that_dvc_cannot_read_is_known_before(repository: Path, person: Path) -> None:
    with person.open("a") as file:
        file.write("[core]\n\tsplitIndex = true\n[commit]\n\tgpgSign = false\n")
    plain(repository, "update-index", "--split-index")
    with pytest.raises(UsageError, match="which DVC cannot read") as caught:
        Git(repository).check_committable()
    subprocess.run(["bash", "-c", caught.value.hint], cwd=repository, check=True)
    Git(repository).check_committable()
    plain(repository, "add", "--all")
    Git(repository).check_committable()


def test_an_executable_stays_one(repository: Path) -> None:
    path = repository / "tool.sh"
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    Git(repository).stage("tool.sh")
    assert plain(repository, "ls-files", "-s", "tool.sh").startswith("100755")


def test_inside_a_larger_repository_paths_count_from_the_project(repository: Path) -> None:
    part = repository / "part"
    (part / "deep").mkdir(parents=True)
    (part / "deep/a.dvc").write_text("a\n")
    git = Git(part)
    git.stage("deep/a.dvc")
    plain(repository, "commit", "-qm", "part")
    assert Git(part).read("HEAD", "deep/a.dvc") == "a\n"
    assert plain(repository, "ls-files", "part").split() == ["part/deep/a.dvc"]
