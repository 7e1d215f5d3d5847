"""The whole story on a machine whose git, DVC and environment are set up to get in the way.

Run, publish, data log, cluster phases and the reproduction commands; only the training itself is a stub.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from stub_training import stub_training

GITCONFIG = """
[user]
    name = 测试 Tester
    email = tester@example.org
[init]
    defaultBranch = trunk
    templateDir = {home}/template
[tag]
    gpgSign = true
    forceSignAnnotated = true
    sort = -creatordate
[log]
    showSignature = true
    follow = true
    decorate = full
[color]
    ui = always
[core]
    pager = false
    editor = sleep 1000
    autocrlf = true
    safecrlf = true
    quotePath = true
    hooksPath = {home}/hooks
    excludesFile = {home}/ignore
[diff]
    noprefix = true
    mnemonicPrefix = true
    renames = copies
    external = false
[commit]
    template = {home}/nothing
    cleanup = strip
    verbose = true
[status]
    short = true
    showUntrackedFiles = no
[i18n]
    commitEncoding = ISO-8859-1
    logOutputEncoding = ISO-8859-1
[push]
    default = nothing
[pull]
    rebase = interactive
[merge]
    conflictStyle = diff3
[advice]
    detachedHead = true
"""
DVC_GLOBAL = """
[core]
    remote = shared
    autostage = true
[cache]
    dir = ../共享 cache
    type = copy
['remote "shared"']
    url = ../store
"""
VARIABLES = {"LC_ALL": "C", "LANG": "zh_CN.GBK", "PYTHONUTF8": "0", "GIT_PAGER": "false", "GIT_EDITOR": "sleep 1000",
             "PAGER": "false", "CDPATH": "/", "GREP_OPTIONS": "-v", "GIT_TRACE": "0", "GIT_DIFF_OPTS": "-u0",
             "PYTHONWARNINGS": "default", "COLUMNS": "20"}  # fmt: skip
# In an ASCII locale DVC itself cannot read a configuration with a Chinese path
DVC_CAN = {"PYTHONUTF8": "1"}


@pytest.fixture
def machine(fresh, tmp_path: Path):
    """A project in a folder with Chinese letters and a space, on such a machine."""
    base = fresh(tmp_path)
    home = tmp_path / "home"
    for name in ("hooks", "template/hooks", "global"):
        (home / name).mkdir(parents=True)
    for name in ("pre-commit", "commit-msg", "post-checkout", "prepare-commit-msg", "reference-transaction"):
        hook = home / "hooks" / name
        hook.write_text(f'#!/bin/sh\necho {name} >> "{tmp_path}/hooks-ran"\nexit 1\n')
        hook.chmod(0o755)
    (home / "ignore").write_text("*.json\n*.dvc\n")
    (home / ".gitconfig").write_text(GITCONFIG.format(home=home))
    (home / "global/config").write_text(DVC_GLOBAL)
    root = tmp_path / "实验 folder/project"
    root.parent.mkdir()
    shutil.move(base.root, root)
    shutil.move(root / ".dvc/cache", home / "共享 cache")
    text = (root / ".dvc/config").read_text()
    (root / ".dvc/config").write_text(
        text.replace("    remote = local\n", "").replace('    type = "hardlink,symlink"\n', "")
    )
    commands = stub_training(tmp_path / "stub")
    env = base.env | VARIABLES | {
        "PATH": f"{commands}{os.pathsep}{base.env['PATH']}", "DVC_GLOBAL_CONFIG_DIR": str(home / "global"),
    }  # fmt: skip
    box = type(base)(root, env)
    box.run("git", "-c", "core.hooksPath=/dev/null", "-c", "core.safecrlf=false", "commit", "-qam", "config")
    return box


def test_the_story(machine, tmp_path: Path) -> None:
    root = machine.root
    # The person's own git is hostile to the person too; the assertions read with a bare one
    bare = {"GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C.UTF-8"}

    def git(*words: str) -> str:
        return machine.run("git", *words, **bare).stdout.strip()

    machine.explicitlm("run", "exp_1", "-m", "学习率 1e-3\n# 第二行", "learning_rate=1e-3")
    record = machine.record("exp_1")
    assert record["experiment"]["description"] == "学习率 1e-3\n# 第二行"
    assert "SIGNATURE" not in git("cat-file", "tag", "refs/tags/exp_1")
    assert git("log", "-1", "--format=%B") == "chore: 添加实验记录 exp_1 - 学习率 1e-3\n\n# 第二行"
    weights = record["versions"]["checkpoint_hash"]
    assert (tmp_path / "home/store/files/md5" / weights[:2] / weights[2:]).exists()
    assert not (root / ".dvc/cache").exists() or not list((root / ".dvc/cache").rglob("*.dir"))

    for name, seed in (("exp_2", 2), ("exp_3", 3)):
        machine.run("dvc", "exp", "run", "-n", name, "-S", f"seed={seed}", **DVC_CAN)
    head = git("rev-parse", "HEAD")
    machine.explicitlm("publish", "exp_2", "exp_3")
    assert git("rev-list", f"{head}..HEAD").count("\n") == 0, "one commit for both"
    assert machine.record("exp_3")["hyperparameters"]["seed"] == 3

    found = json.loads(machine.explicitlm("data", "log", "database", "--json").stdout)["versions"]
    assert [len(version["experiments"]) for version in found] == [3, 0]
    assert found[0]["commit"] and found[0]["current"]

    machine.explicitlm("run", "exp_4", f"data.dataset={found[1]['commit'][:8]}")
    assert machine.record("exp_4")["versions"]["data"]["dataset_commit"] == found[1]["commit"]

    machine.explicitlm("cluster", "pre", "exp_5", "seed=5")
    machine.explicitlm("cluster", "train", "exp_5")
    machine.explicitlm("cluster", "post", "exp_5")
    assert machine.record("exp_5")["status"] == "finished"

    assert not (tmp_path / "hooks-ran").exists(), (tmp_path / "hooks-ran").read_text()

    clone = tmp_path / "另一个 clone"
    machine.run("git", "-c", "core.hooksPath=/dev/null", "clone", "-q", str(root), str(clone))
    shutil.rmtree(tmp_path / "home/共享 cache")
    other = type(machine)(clone, machine.env | DVC_CAN)
    machine.run("git", "-C", str(clone), "config", "core.hooksPath", "/dev/null")  # the user's own checkout runs hooks
    other.shell(machine.record("exp_4")["reproduction"]["code_checkout"])
    for step in machine.record("exp_4")["reproduction"]["data_checkout_steps"]:
        other.shell(step)
    other.shell(machine.record("exp_4")["reproduction"]["checkpoint_pull"])
    assert (clone / "checkpoints/exp_4/model.safetensors").is_file()
