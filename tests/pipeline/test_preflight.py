"""What would make an experiment fail is known before it trains; the hint is run, and then nothing stands in the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from explicitlm.common.errors import DataError, ExplicitLMError, StorageError, UsageError
from explicitlm.pipeline import preflight
from explicitlm.pipeline.params import read_params
from explicitlm.vcs.workspace import Workspace


def check(box, experiment: str = "exp_b") -> None:
    workspace = Workspace(box.root, box.root)
    preflight.check(workspace, experiment, read_params(workspace))


def ready(box, experiment: str = "exp_b") -> None:
    """All but the data, which costs seconds."""
    preflight.check_project(Workspace(box.root, box.root), experiment)


def refused(box, words: str, kind: type[ExplicitLMError] = UsageError) -> str:
    with pytest.raises(kind, match=words) as caught:
        check(box)
    return caught.value.hint


def test_a_sound_project_passes_and_nothing_is_left(here) -> None:
    before = here.snapshot()
    check(here)
    assert here.snapshot() == before


def test_data_that_training_cannot_read(here) -> None:
    (here.root / "data/knowledge_base/more.json").write_text('[{"fact": "Ada lives in Oslo."}]')
    here.dvc("add", "-q", "data/knowledge_base")
    hint = refused(here, r"more.json, entry 1: no fact \(a string, or an object with", DataError)
    assert hint == "correct the entry in the knowledge base"
    (here.root / "data/knowledge_base/more.json").unlink()
    (here.root / "data/knowledge_base/more.json").write_text('["Ada lives in Oslo."]')
    here.dvc("add", "-q", "data/knowledge_base")
    check(here)


def test_an_import_that_nobody_can_fetch(here, tmp_path: Path) -> None:
    upstream = type(here)(tmp_path / "upstream", here.env)
    (upstream.root / "facts").mkdir(parents=True)
    (upstream.root / "facts/facts.json").write_text('["Ada lives in Oslo."]')
    upstream.shell("git init -q && dvc init -q && dvc add -q facts && git add -A && git commit -qm facts")
    here.dvc("remove", "-q", "data/knowledge_base.dvc", "--outs")
    here.dvc("import", "-q", "../upstream", "facts", "-o", "data/knowledge_base")
    here.commit("imported", "data/knowledge_base.dvc")
    for again in (False, True):
        shutil.rmtree(here.root / "data/knowledge_base", ignore_errors=True)
        shutil.rmtree(here.root / ".dvc/cache")
        here.dvc("add", "-q", "data/database", "data/benchmarks")
        if again:
            shutil.rmtree(upstream.root)
            hint = refused(here, "was imported, and neither the cache nor the remote has it", DataError)
            here.shell(hint.rpartition(": ")[2])
        else:
            check(here)  # brings it


def test_a_tag_below_the_name(here) -> None:
    here.git("tag", "exp_b/old")
    refused(here, "exp_b/old")
    ready(here, "exp_c")


def test_a_branch_of_the_name(here) -> None:
    here.git("branch", "exp_b")
    refused(here, "is the name of a branch")


@pytest.mark.hint("{}; or put it aside: mkdir -p {} && mv {} {}")
def test_a_record_that_an_earlier_run_left_can_be_put_aside(here) -> None:
    record = here.root / "experiments/records/exp_b.json"
    record.write_text("{}")
    hint = refused(here, "left by an earlier run")
    here.shell(hint.split("put it aside: ")[1])
    assert (here.root / ".explicitlm/aside/exp_b.json").read_text() == "{}"
    ready(here)


@pytest.mark.hint("{}{}; or free the name: dvc exp rename {} {}_old")
def test_an_experiment_of_the_name_can_be_renamed(here) -> None:
    head = here.git("rev-parse", "HEAD")
    commit = here.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "an experiment")
    here.git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/exp_b", commit)
    hint = refused(here, "is used by the DVC experiment")
    here.shell(hint.split("free the name: ")[1])
    assert commit in here.git("for-each-ref", "refs/exps"), "it is kept"
    ready(here)


@pytest.mark.hint('git config user.name "Your Name" && git config user.email you@example.org')
def test_no_identity(here) -> None:
    (Path(here.env["HOME"]) / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    hint = refused(here, "does not know who commits")
    here.shell(hint)
    ready(here)


@pytest.mark.hint("correct the key (git config user.signingkey), or for this clone: git config commit.gpgsign false")
def test_a_signature_that_fails(here) -> None:
    with (Path(here.env["HOME"]) / ".gitconfig").open("a") as file:
        file.write("[commit]\n\tgpgsign = true\n")
    hint = refused(here, "are to be signed")
    here.shell(hint.split("for this clone: ")[1])
    ready(here)


@pytest.mark.hint("dvc config --list --show-origin names the file that puts it there")
def test_a_cache_that_cannot_be_written(here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "share").write_text("a file, where a share should be mounted")
    (tmp_path / "global").mkdir()
    (tmp_path / "global/config").write_text(f"[cache]\n    dir = {tmp_path}/share/cache\n")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    hint = refused(here, "DVC's cache .*share/cache cannot be written", StorageError)
    command = hint.split(" names")[0].split()
    shown = subprocess.run(command, cwd=here.root, env=dict(os.environ), capture_output=True, text=True)
    assert str(tmp_path / "global") in shown.stdout or "share/cache" in shown.stdout


@pytest.mark.slow
def test_a_remote_whose_plug_in_is_missing(here) -> None:
    here.dvc("remote", "add", "--local", "-d", "far", "gs://bucket/x")
    hint = refused(here, "dvc-gs", StorageError)
    assert hint == "pip install 'dvc[gs]'"
    assert not (here.root / "gs:").exists()
    found = here.explicitlm("doctor", check=False).stdout
    assert "dvc-gs" in found and not (here.root / "gs:").exists()


@pytest.mark.slow
def test_a_store_that_does_not_answer(here) -> None:
    here.explicitlm("remote", "minio", "--endpoint", "http://127.0.0.1:9", "--access-key", "k",
                    AWS_SECRET_ACCESS_KEY="secret")  # fmt: skip
    refused(here, "cannot be reached", StorageError)
    here.explicitlm("remote", "local")
    ready(here)


@pytest.mark.hint("dvc pull {}, then the same command")
@pytest.mark.hint("mv {} {} && dvc add {} && git commit -m 'data: hashes of DVC 3' -- {}")
def test_a_pointer_of_dvc_2(here) -> None:
    pointer = here.root / "data/database.dvc"
    pointer.write_text(pointer.read_text().replace("  hash: md5\n", ""))
    here.commit("as DVC 2 wrote it", "data/database.dvc")
    # As in a clone: DVC 2 had its objects at the top of cache and remote, by the same hashes for text like this
    shutil.copytree(here.root / ".dvc/cache/files/md5", here.root.parent / "explicitlm-storage", dirs_exist_ok=True)
    shutil.rmtree(here.root / "data/database")
    here.shell(refused(here, "was written by DVC 2", DataError).split(", then")[0])
    here.shell(refused(here, "was written by DVC 2", DataError))
    ready(here)
    check(here)


@pytest.mark.slow
def test_an_unclear_revision_tells_both_quotings(here) -> None:
    done = here.dvc("exp", "run", "--temp", "-n", "x", "-S", "data.dataset=12e4567", check=False)
    assert "is not a git revision" in done.stderr
    quoted = re.search(r"""-S '(data\.dataset=".*?")'""", done.stderr)
    assert quoted
    again = here.dvc("exp", "run", "--temp", "-n", "x", "-S", quoted[1], check=False)
    assert "is not a revision that git knows" in again.stderr


def test_a_broken_params_file_is_put_aside_and_kept(here) -> None:
    params = here.root / "params.yaml"
    broken = params.read_text() + "epochs: [\n"
    params.write_text(broken)
    done = here.explicitlm("run", "exp_b", check=False)
    assert done.returncode == 2
    here.shell(done.stderr.split("put your changes aside: ")[1].splitlines()[0])
    ready(here)
    assert here.git("show", "stash@{0}:params.yaml") + "\n" == broken


@pytest.mark.hint("dvc add {} to keep the change, or put it aside: mv {} {} && dvc checkout {}")
@pytest.mark.slow
def test_a_changed_dataset_is_put_aside_and_kept(here) -> None:
    file = here.root / "data/database/text.jsonl"
    text = file.read_text() + '{"text": "mine"}\n'
    file.unlink()
    file.write_text(text)
    hint = refused(here, "was changed without dvc add", DataError)
    here.shell(hint.split("put it aside: ")[1])
    check(here)
    assert (here.root / "data/database.aside/text.jsonl").read_text() == text


@pytest.mark.slow
def test_a_broken_pointer_is_kept_beside(here) -> None:
    pointer = here.root / "data/database.dvc"
    pointer.write_text("<<<<<<< HEAD\nmine\n")
    hint = refused(here, "is broken", DataError)
    here.shell(hint.split("put it aside: ")[1].replace("if git has it: ", ""))
    check(here)
    assert "mine" in pointer.with_name("database.dvc.aside").read_text()


def test_signing_and_hooks_do_not_hinder_what_is_published(here, tmp_path: Path) -> None:
    assert shutil.which("git")
    hook = here.root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho reformatted > experiments/records/exp_b.json; exit 1\n")
    hook.chmod(0o755)
    ready(here)
    path = here.root / "experiments/records/exp_b.json"
    path.write_text("{}\n")
    assert Workspace(here.root, here.root).git.commit_only("record", "experiments/records/exp_b.json")
    assert path.read_text() == "{}\n"
