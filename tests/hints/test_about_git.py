"""The hints about git, owners and the project's own files, followed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
from following import run_hint

from explicitlm.common import layout
from explicitlm.common.errors import ConfigError
from explicitlm.pipeline.identity import check_id
from explicitlm.pipeline.params import read_params
from explicitlm.records import store
from explicitlm.vcs import owners
from explicitlm.vcs.git import Git, _next_after
from explicitlm.vcs.git_reading import revision_error
from explicitlm.vcs.migrate import migrate
from explicitlm.vcs.pointer import parse_pointer
from explicitlm.vcs.workspace import Workspace


def workspace(box) -> Workspace:
    return Workspace(box.root, box.root)


@pytest.mark.hint("git switch {}, then the same command")
@pytest.mark.parametrize("ahead", [False, True], ids=["on a branch's commit", "with a commit of its own"])
def test_a_detached_head_keeps_its_commits(here, follow, ahead: bool) -> None:
    here.git("checkout", "-q", "--detach")
    if ahead:
        (here.root / "mine.py").write_text("on no branch\n")
        here.commit("on no branch", "mine.py")
    (here.root / "README.md").write_text("unfinished\n")
    hint = follow(here, lambda: Git(here.root).check_committable(), "(.*), then")
    assert (" -c " in hint) == ahead


@pytest.mark.hint("git switch {}, then the same command")
def test_a_branch_with_a_strange_name(here, follow) -> None:
    here.git("branch", "-m", "main", "it's;touch$IFS$1x")
    here.git("checkout", "-q", "--detach")
    follow(here, lambda: Git(here.root).check_committable(), "(.*), then")
    assert here.git("branch", "--show-current") == "it's;touch$IFS$1x" and not (here.root / "x").exists()


@pytest.mark.hint("git add -A && git commit -m 'first commit'")
def test_a_repository_without_a_commit(here, follow) -> None:
    shutil.rmtree(here.root / ".git")
    here.git("init", "-q")
    follow(here, lambda: Git(here.root))


@pytest.mark.hint("git fsck tells whether the repository is whole")
def test_what_git_cannot_write(here, follow) -> None:
    follow(here, lambda: Git(here.root).tag("x", "0" * 40, "of nothing"), "(git fsck)", mends=False)


@pytest.mark.hint("df -h .; free space there, then the same command")
@pytest.mark.hint("ls -ld .git .git/objects; they must be writable for you, then the same command")
@pytest.mark.parametrize("message", ["unable to write: No space left on device", "insufficient permission for adding"])
def test_what_the_disk_refuses(here, message: str) -> None:
    run_hint(here, _next_after(message), "(.*?);")


@pytest.mark.hint("git fetch --tags, or {}")
@pytest.mark.hint("choose one of: git log --oneline -- {}")
@pytest.mark.hint("git fetch --unshallow --tags")
def test_a_revision_that_is_not_here(here, follow) -> None:
    pointer, older = "data/database.dvc", here.git("rev-parse", "HEAD~1")
    here.run("git", "clone", "-q", "--depth", "1", f"file://{here.root}", "../shallow")
    clone, shallow = here.clone("clone"), dataclasses.replace(here, root=here.root.parent / "shallow")
    here.git("tag", "snapshot")

    def ask(box, revision: str) -> None:
        if Git(box.root).resolve(revision) is None:
            raise revision_error(pointer, revision, Git(box.root))

    follow(clone, lambda: ask(clone, "snapshot"), "(git fetch --tags), or choose one of: (.*)")
    follow(shallow, lambda: ask(shallow, older))
    follow(here, lambda: ask(here, "nonsense"), "choose one of: (.*)", mends=False)


@pytest.mark.hint("wait for it (tail -f {}), or end it: kill {}")
@pytest.mark.hint("wait for it; if it is known to have ended: rm {}")
def test_an_owner_that_is_to_end(here, follow) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    owner = owners.Owner.of(psutil.Process(process.pid))
    note = here.root / layout.OWNERS / "x.json"
    note.parent.mkdir(parents=True)

    def claim() -> None:
        if process.poll() is None and "kill" in note.read_text():
            process.wait()
        with owners.claim(here.root, "x"):
            pass

    note.write_text(json.dumps({"owners": [dataclasses.asdict(owner)]}))
    hint = follow(here, claim, "end it: (.*)", mends=False)
    assert str(process.pid) in hint and process.wait() < 0
    claim()
    note.write_text(json.dumps({"owners": [dataclasses.asdict(dataclasses.replace(owner, host="another host"))]}))
    follow(here, claim, "ended: (.*)")


@pytest.mark.hint("diff {} {} shows how they differ; put the wrong one aside: mv {} {}, or mv {} {}")
def test_two_pointers_of_one_name(here, follow) -> None:
    (here.root / "checkpoints").unlink()
    (here.root / "checkpoints").mkdir()
    for folder in ("checkpoints", "experiments/checkpoints"):
        (here.root / folder / "exp_1.dvc").write_text(f"of {folder}\n")
    here.git("add", "-A", "--force", "checkpoints")
    here.git("commit", "-qm", "the older layout")
    follow(here, lambda: migrate(here.root), "put the wrong one aside: (.*), or")


@pytest.mark.hint("put it aside: mv {} {}; if git has it: git checkout HEAD -- {}")
@pytest.mark.parametrize("kind", ["record", "pointer"])
def test_a_broken_file_that_git_has(here, follow, kind: str) -> None:
    path = {"record": layout.record("exp_1"), "pointer": "data/database.dvc"}[kind]
    file = here.root / path
    if kind != "pointer":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("not JSON either\n")
        here.commit("as someone wrote it", path)
    ask = {
        "record": lambda: store.load(here.root, "exp_1"),
        "pointer": lambda: parse_pointer(file.read_text(), path),
    }[kind]
    for number in (1, 2):  # what was put aside once is not lost the second time
        file.write_text(f"<<<<<<< mine {number}\n")
        follow(here, ask, "aside: (.*); if git has it: (.*)", mends=kind == "pointer")
        assert here.git("status", "--porcelain", path) == ""


@pytest.mark.hint("git log -p -- {} shows who wrote that")
def test_a_broken_pointer_in_a_commit(here, follow) -> None:
    follow(
        here, lambda: parse_pointer("nothing", "0123abcd:data/database.dvc"), "(git log -p -- .*) shows", mends=False
    )


@pytest.mark.hint("git checkout -- params.yaml")
@pytest.mark.hint("add them, or put your changes aside: git stash push -- {}")
@pytest.mark.hint("correct {}, or put your changes aside: git stash push -- {}")
@pytest.mark.hint("put your changes aside: git stash push -- {}")
def test_the_projects_own_files(here, follow) -> None:
    params, pipeline = here.root / "params.yaml", here.root / "dvc.yaml"
    whole = params.read_text()
    params.write_text("".join(line for line in whole.splitlines(True) if not line.startswith("epochs")))
    follow(here, lambda: read_params(workspace(here)), "aside: (.*)")
    params.write_text(whole + "epochs: [\n")
    follow(here, lambda: read_params(workspace(here)), "aside: (.*)")
    params.unlink()
    follow(here, lambda: read_params(workspace(here)))
    pipeline.write_text("stages: 7\n")
    follow(here, lambda: workspace(here).pipeline.stages, "aside: (.*)")
    assert params.read_text() == whole and here.git("stash", "list").count("\n") == 2


def test_a_value_that_is_no_yaml_names_no_file(here) -> None:
    done = here.explicitlm("run", "x", "epochs=[1", check=False)
    assert done.returncode == ConfigError.exit_code and "next: correct epochs\n" in done.stderr


def test_below_the_top_a_hint_says_where_its_paths_begin(here) -> None:
    (here.root / "params.yaml").write_text("epochs: [\n")
    below = dataclasses.replace(here, root=here.root / "src/explicitlm")
    assert f"next, in {here.root}: correct params.yaml" in below.explicitlm("run", "x", check=False).stderr


@pytest.mark.hint("choose another id (the used ones: ls experiments/records; git tag; dvc exp list -A)")
def test_a_used_id(here, follow) -> None:
    here.git("tag", "used")
    follow(here, lambda: check_id("used", workspace(here)), "ones: (ls .*); (git tag); (dvc exp .*)\\)", mends=False)


@pytest.mark.hint("explicitlm run {} --resume; to give it up: mkdir -p {} && mv {} {}")
def test_an_interrupted_run_that_is_given_up_twice(here, follow) -> None:
    for number in (1, 2):
        state = here.root / layout.run_dir("x") / layout.STATES / "step-5"
        state.mkdir(parents=True)
        (state / "state").write_text(f"hours of work, {number}")
        follow(here, lambda: check_id("x", workspace(here)), "give it up: (.*)")
    assert Path(here.root / layout.ASIDE / "x-2").is_dir()
