"""What a killed `dvc exp run` left is told at once, and the command that is named mends it and loses nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.vcs import leftovers

LOCKS = (
    "index.lock", "HEAD.lock", "packed-refs.lock", "config.lock", "logs/HEAD.lock", "refs/heads/main.lock",
    "refs/exps/stash.lock", "refs/exps/exec/EXEC_BRANCH.lock", "worktrees/linked/index.lock",
)  # fmt: skip


class Checkout:
    """A repository with DVC's folder, and a second worktree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / ".dvc/tmp/exps").mkdir(parents=True)
        (root / ".gitignore").write_text("/.dvc/tmp/\n")
        (root / "notes").write_text("first\n")
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"],
                      ["worktree", "add", "-q", "../linked"]):  # fmt: skip
            self.git(*words)

    def git(self, *words: str, at: int = 1_700_000_000) -> str:
        """Runs git; `at` is the time that it writes down."""
        command = ["env", f"GIT_COMMITTER_DATE={at} +0000", "git", *words]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def file(self, name: str, text: str = "") -> None:
        """Writes a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def told(self) -> str:
        """What is said; the command is typed, and nothing is left after it."""
        with pytest.raises(UsageError) as caught:
            leftovers.check(self.root)
        subprocess.run(["bash", "-c", caught.value.hint.split(" (loses")[0]], cwd=self.root, check=True)
        leftovers.check(self.root)
        return caught.value.cause


@pytest.fixture
def box(bare_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    for key, value in bare_env.items():
        monkeypatch.setenv(key, value)
    return Checkout(tmp_path / "it's here")


def test_nothing_is_told_where_nothing_was_left(box: Checkout) -> None:
    box.file(".dvc/tmp/rwlock", '{"read": {}}')
    for name in ("lock", "rwlock.lock", "exps/rwlock.lock"):  # these stay after every command of DVC's
        box.file(f".dvc/tmp/{name}", " 1\n")
    leftovers.check(box.root)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_of_git(box: Checkout, name: str) -> None:
    box.file(f".git/{name}")
    assert name in box.told()


@pytest.mark.parametrize("name", ["lock", "rwlock.lock", "exps/rwlock.lock"])
def test_locks_of_dvc_that_are_links(box: Checkout, name: str) -> None:
    box.file(".dvc/config", "[core]\n    hardlink_lock = true\n")
    box.file(f".dvc/tmp/{name}", " 1\n")
    assert f".dvc/tmp/{name}" in box.told()


@pytest.mark.parametrize("text", ["", '{"write": {"works', '{"write": {"workspace": {"pid": "none"}}}', "[]"])
@pytest.mark.parametrize("name", ["rwlock", "exps/rwlock"])
def test_a_list_of_locks_that_was_cut_short(box: Checkout, name: str, text: str) -> None:
    box.file(f".dvc/tmp/{name}", text)
    assert f".dvc/tmp/{name}" in box.told()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_lock_whose_process_number_another_program_has_now(box: Checkout, kind: str) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        held = {"pid": other.pid, "cmd": "dvc exp run"}
        content = {"write": {"workspace": held}} if kind == "write" else {"read": {"data": [held]}}
        box.file(".dvc/tmp/exps/rwlock", json.dumps(content))
        assert "exps/rwlock" in box.told()
        assert other.stdin is not None
        other.stdin.close()
    box.file(".dvc/tmp/exps/rwlock", json.dumps(content))  # nobody has it any more: DVC takes it away itself
    leftovers.check(box.root)


def test_an_experiment_that_was_about_to_start(box: Checkout) -> None:
    for name in ("x", "y"):
        box.file("notes", f"parameters of {name}\n")
        commit = box.git("stash", "create")
        head = box.git("rev-parse", "HEAD")
        box.git(
            "update-ref", "--create-reflog", "-m", f"commit: dvc-exp:{head}:{head}:{name}", leftovers.STASHED, commit
        )
        box.git("checkout", "-q", "--", "notes")
    assert "what the next run would train as well (y, x;" in box.told()
    assert [line.split(": ")[1] for line in box.git("stash", "list").splitlines()] == [
        "dvc exp run y, killed", "dvc exp run x, killed",
    ]  # fmt: skip
    box.git("stash", "pop", "-q")
    assert (box.root / "notes").read_text() == "parameters of y\n"


def started(box: Checkout) -> None:
    """DVC has just detached HEAD, and staged its own file."""
    box.git("checkout", "-q", "--detach", at=1_700_000_101)
    box.file(".dvc/tmp/repro.dat", "x")
    box.git("add", "--force", ".dvc/tmp/repro.dat")


@pytest.mark.hint("{} (loses nothing; git status shows what is yours), then the same command")
def test_all_that_is_left_is_told_at_once(box: Checkout) -> None:
    started(box)
    for name in (".git/refs/exps/stash.lock", ".git/index.lock", ".dvc/tmp/exps/rwlock"):
        box.file(name)
    told = box.told()
    assert all(words in told for words in ("index.lock", "stash.lock", "rwlock", "branch main"))
    assert box.git("branch", "--show-current") == "main" and not box.git("status", "--porcelain")


def test_its_file_stays_staged_for_one_who_went_back_himself(box: Checkout) -> None:
    started(box)
    box.git("switch", "-q", "main")
    assert "repro.dat staged" in box.told()
    assert not box.git("status", "--porcelain")


def test_a_commit_that_only_the_detached_head_holds_gets_a_branch(box: Checkout) -> None:
    box.git("update-ref", leftovers.STARTED_FROM, "HEAD")
    started(box)
    box.git("commit", "-q", "--allow-empty", "-m", "meanwhile")
    kept = box.git("rev-parse", "HEAD")
    box.told()
    assert box.git("rev-parse", f"left-{kept[:8]}") == kept
    assert box.git("branch", "--show-current") == "main" != kept


def test_an_experiment_that_dvc_committed_and_had_not_named_gets_its_name(box: Checkout) -> None:
    box.git("update-ref", leftovers.STARTED_FROM, "HEAD")
    baseline = box.git("rev-parse", "HEAD")
    box.git("checkout", "-q", "--detach")
    box.file("experiments/records/exp_001.json", "{}")
    box.git("add", ".")
    box.git("commit", "-qm", "dvc: commit experiment")
    commit = box.git("rev-parse", "HEAD")
    box.told()
    assert box.git("rev-parse", f"refs/exps/{baseline[:2]}/{baseline[2:]}/exp_001") == commit
    assert box.git("branch", "--show-current") == "main" and box.git("rev-parse", "main") == baseline


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("text", ["the user's\n", "newer\n"])
def test_what_was_uncommitted_comes_back(box: Checkout, text: str, restored: bool) -> None:
    box.file("notes", "the user's\n")
    box.git("stash", "push", "-q", at=1_700_000_100)
    box.git("checkout", "-q", box.git("rev-parse", "HEAD"), at=1_700_000_101)
    if restored:
        box.git("symbolic-ref", "-m", "dvc: Restore HEAD to 'main'", "HEAD", "refs/heads/main", at=1_700_000_200)
    if text == "the user's\n":
        assert "what was uncommitted in git's stash" in box.told()
    else:
        box.file("notes", text)
        if not restored:
            assert "what was uncommitted in git's stash, too" in box.told()
        leftovers.check(box.root)
    assert (box.root / "notes").read_text() == text and bool(box.git("stash", "list")) == (text == "newer\n")


def test_a_stash_of_the_users_own_is_left_alone(box: Checkout) -> None:
    box.file("notes", "put aside last week\n")
    box.git("stash", "push", "-q", at=1_700_000_000)
    box.git("checkout", "-q", "--detach", at=1_700_000_101)
    assert "stash" not in box.told()
    assert box.git("stash", "list") and (box.root / "notes").read_text() == "first\n"


@pytest.mark.parametrize("where", ["elsewhere", "an experiment", "bisecting"])
def test_a_head_that_the_user_detached_is_none_of_dvcs(box: Checkout, where: str) -> None:
    box.git("update-ref", leftovers.STARTED_FROM, "HEAD")
    parent = [] if where == "elsewhere" else ["-p", "HEAD"]
    commit = box.git("commit-tree", "HEAD^{tree}", *parent, "-m", "another")
    box.git("checkout", "-q", commit)
    if where == "an experiment":
        box.git("tag", "exp_001")
    if where == "bisecting":
        box.git("bisect", "start")
    leftovers.check(box.root)


def test_of_a_dvc_at_work_nothing_is_called_left(box: Checkout) -> None:
    started(box)
    box.git("switch", "-q", "main")
    for name in (".git/index.lock", ".dvc/tmp/rwlock"):
        box.file(name)
    with subprocess.Popen(["bash", "-c", "exec -a dvc cat"], cwd=box.root, stdin=subprocess.PIPE) as other:
        # bash has become cat, named dvc, once it answers
        assert other.stdin is not None
        while Path(f"/proc/{other.pid}/cmdline").read_bytes() != b"dvc\0":
            pass
        leftovers.check(box.root)
        other.stdin.close()
    assert "index.lock" in box.told()
