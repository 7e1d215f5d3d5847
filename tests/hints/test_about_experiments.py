"""The hints about running and publishing experiments, followed: the trainings are stubs, all else is real."""

from __future__ import annotations

import dataclasses
import re
import shutil

import pytest
from following import run_hint, texts

from explicitlm.common import layout

pytestmark = pytest.mark.slow


def refused(box, request: pytest.FixtureRequest, *words: str) -> str:
    """The hint that a command prints when it refuses; it is one that the test is marked with."""
    done = box.run(*words, check=False)
    assert done.returncode and "Traceback" not in done.stderr, done.stdout + done.stderr
    hint = re.findall(r"^  next: (.*)$", done.stdout + done.stderr, re.MULTILINE)[-1]
    assert any(pattern.fullmatch(hint) for pattern in texts(request.node)), hint
    return hint


def left(box, name: str, like: str) -> None:
    """What a run of another id leaves in a folder of this name."""
    folder = box.root / layout.run_dir(name)
    folder.mkdir(parents=True)
    shutil.copy2(box.root / layout.run_dir(like) / "manifest.json", folder / "manifest.json")


@pytest.mark.hint("explicitlm run {} starts a new one")
@pytest.mark.hint("explicitlm run {} starts a new one, after: mkdir -p {} && mv {} {}")
@pytest.mark.hint("explicitlm run {}, after: mkdir -p {} && mv {} {}")
@pytest.mark.hint("explicitlm run {} --resume")
@pytest.mark.hint("explicitlm publish {}")
@pytest.mark.hint("dvc exp list -A shows those that can be published")
@pytest.mark.hint('explicitlm conclude {} "what you learnt"')
@pytest.mark.hint("the known ones: cat params.yaml")
@pytest.mark.hint("explicitlm run exp_003 epochs=10 learning_rate=1e-4")
@pytest.mark.hint("give {} another name, if that is not the one: git update-ref {}-{} {} && git update-ref -d {}")
@pytest.mark.hint("dvc exp apply {} && dvc repro --single-item record && explicitlm publish {}")
@pytest.mark.hint("git push --atomic origin HEAD {}")
@pytest.mark.hint("git push --atomic {}")
@pytest.mark.hint("git fetch origin tag {}, then the same command")
@pytest.mark.hint("git fetch --tags")
@pytest.mark.hint("git pull")
@pytest.mark.hint("git ls-remote --tags origin {} tells whether the published one is another")
@pytest.mark.hint("{}git fetch --force origin tag {}")
@pytest.mark.hint("explicitlm compare {} {} shows whose data/benchmarks are others")
@pytest.mark.hint("git worktree add ../{}-code {}, and the same command there")
def test_running_publishing_and_a_colleague(quick, request) -> None:
    run_hint(quick, refused(quick, request, "explicitlm", "run", "x", "--resume"), "(.*) starts")
    run_hint(quick, refused(quick, request, "explicitlm", "run", "x", "--resume"))
    left(quick, "y", "x")
    hint = refused(quick, request, "explicitlm", "publish", "y")
    run_hint(quick, refused(quick, request, "explicitlm", "run", "y", "--resume"), "after: (.*)")
    left(quick, "y", "x")
    run_hint(quick, hint.replace(f"{layout.ASIDE}/y", f"{layout.ASIDE}/y-2"), "after: (.*)")
    run_hint(quick, refused(quick, request, "explicitlm", "publish", "nothing"), "(.*) shows")
    run_hint(quick, refused(quick, request, "explicitlm", "conclude", "x", " "))
    run_hint(quick, refused(quick, request, "explicitlm", "run", "y", "epochz=3"), "ones: (.*)")
    assert refused(quick, request, "explicitlm", "run", "z", "--resume", "epochs=3") == "explicitlm run z --resume"
    assert refused(quick, request, "explicitlm", "run", "y", "epochs").startswith("explicitlm run exp_003 epochs=")

    # An experiment whose commit lacks the record; two of one name
    quick.dvc("exp", "run", "--temp", "-n", "z", "-S", "epochs=2")
    lines = quick.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
    ((reference, commit),) = [line.split() for line in lines if line.split()[0].endswith("/z")]
    quick.env["GIT_INDEX_FILE"] = str(quick.root.parent / "index")
    quick.git("read-tree", commit)
    quick.git("rm", "-q", "--cached", layout.record("z"), layout.pointer_file("z"))
    tree = quick.git("write-tree")
    del quick.env["GIT_INDEX_FILE"]
    bare = quick.git("commit-tree", tree, "-p", f"{commit}^", "-m", "without a record")
    quick.git("update-ref", reference, bare)
    other = quick.git("rev-parse", "HEAD~1")
    quick.git("update-ref", f"refs/exps/{other[:2]}/{other[2:]}/z", commit)
    hint = refused(quick, request, "explicitlm", "publish", "z")
    run_hint(quick, hint, "the one: (.*)")
    (kept,) = [line for line in quick.git("for-each-ref", "refs/exps").splitlines() if line.endswith("/z")]
    if bare not in kept:
        quick.git("update-ref", reference, bare)
        quick.git("update-ref", "-d", f"refs/exps/{other[:2]}/{other[2:]}/z")
    (quick.root / "README.md").write_text("my unfinished words\n")
    run_hint(quick, refused(quick, request, "explicitlm", "publish", "z"))
    assert quick.record("z")["status"] == "finished"
    quick.git("checkout", "-q", "--", "README.md")

    # What a colleague has without the tags, or without the record
    quick.git("init", "-q", "--bare", "../origin.git")
    quick.git("remote", "add", "origin", "../origin.git")
    quick.git("push", "-q", "origin", "HEAD")
    quick.run("git", "clone", "-q", "--no-tags", "../origin.git", "../colleague")
    colleague = dataclasses.replace(quick, root=quick.root.parent / "colleague")
    run_hint(quick, quick.explicitlm("publish", "x").stdout.split("next: ")[1].strip())
    assert "x" in refused(colleague, request, "explicitlm", "publish", "x")
    run_hint(colleague, "git fetch origin tag x, then the same command", "(.*), then")
    colleague.explicitlm("publish", "x")
    run_hint(colleague, "git fetch --tags")
    run_hint(colleague, refused(colleague, request, "explicitlm", "compare", "x", "quite_another"))
    run_hint(colleague, "git ls-remote --tags origin x")
    colleague.explicitlm("compare", "x", "z")
    colleague.git("tag", "-f", "x", "HEAD~1")
    run_hint(colleague, "git tag x-here x && git fetch --force origin tag x")
    script = colleague.root / "1_pretrain.py"
    script.write_text(script.read_text() + "# other code\n")
    hint = refused(colleague, request, "explicitlm", "compare", "x", "z", "--seeds", "2", "--run")
    run_hint(colleague, hint, "(.*), and")
    assert (colleague.root.parent / "x-code/1_pretrain.py").is_file()


@pytest.mark.hint("dvc repro sync_data")
@pytest.mark.hint("dvc repro train && dvc repro --single-item record")
@pytest.mark.hint("dvc commit -f train")
@pytest.mark.hint("dvc repro train")
@pytest.mark.hint("mv {} {}, then the same command")
@pytest.mark.hint("{}; to give it up: mkdir -p {} && mv {} {}")
def test_recording_in_the_workspace(quick, request) -> None:
    record = ("python", "-m", "explicitlm.pipeline.record")
    quick.env["DVC_EXP_NAME"] = "w"
    run_hint(quick, refused(quick, request, *record))
    run_hint(quick, refused(quick, request, *record))
    weights = quick.root / layout.CHECKPOINT / "model.safetensors"
    content = weights.read_bytes()
    shutil.rmtree(quick.root / ".dvc/cache/files/md5")  # trained elsewhere: no cache has the weights
    (quick.root / layout.PIPELINE_LOCK).unlink()
    run_hint(quick, refused(quick, request, *record))
    quick.run(*record)
    assert weights.read_bytes() == content
    shutil.rmtree(quick.root / layout.CHECKPOINT)
    (quick.root / layout.PIPELINE_LOCK).unlink()
    (quick.root / layout.record("w")).unlink()
    run_hint(quick, refused(quick, request, *record))
    quick.run(*record)
    assert weights.read_bytes() == content

    # A training of that id that was interrupted, and a report of one that a full disk has cut
    folder = quick.root / layout.run_dir("w")
    (folder / layout.STATES / "step-3").mkdir(parents=True)
    (folder / layout.STATES / "step-3/state").write_text("hours of work")
    (folder / "status.json").write_text('{"status": "runn')
    train = ("python", "-m", "explicitlm.pipeline.train")
    run_hint(quick, refused(quick, request, *train), "(.*), then")
    run_hint(quick, refused(quick, request, *train), "to give it up: (.*)")
    quick.run(*train)


LOOKS = (
    "explicitlm archive --help", "explicitlm cluster post --help", "explicitlm reproduce --help",
    "explicitlm badge --help", "explicitlm doctor", "ls experiments/records", "explicitlm compare",
    "explicitlm compare --json", "explicitlm compare --columns id,status,items", "explicitlm data log database",
    "explicitlm knowledge --help", "git diff -- params.yaml", "dvc exp list -A", "tail -n 1 README.md",
    "cat README.md", "git log -p -- experiments/records README.md",
)  # fmt: skip


@pytest.mark.hint("explicitlm archive --help")
@pytest.mark.hint("explicitlm cluster post --help")
@pytest.mark.hint("explicitlm reproduce --help")
@pytest.mark.hint("explicitlm badge --help")
@pytest.mark.hint("explicitlm doctor")
@pytest.mark.hint("explicitlm doctor; or choose another store")
@pytest.mark.hint("ls {}")
@pytest.mark.hint("explicitlm compare")
@pytest.mark.hint("explicitlm compare shows what differs")
@pytest.mark.hint("explicitlm compare shows those with a record")
@pytest.mark.hint("explicitlm compare --json shows every name")
@pytest.mark.hint("explicitlm compare --columns id,status,items shows which experiments have some")
@pytest.mark.hint("pin a version that DVC 3 wrote: explicitlm data log {}")
@pytest.mark.hint("dvc exp list -A")
@pytest.mark.hint("dvc exp list -A shows all")
@pytest.mark.hint("explicitlm knowledge --help")
@pytest.mark.hint("git diff -- params.yaml shows what it says now; the same command again trains that (nothing was trained yet)")  # fmt: skip  # noqa: E501
@pytest.mark.hint("tail -f {}")
@pytest.mark.hint("cat {}")
@pytest.mark.hint("git log -p -- {} {}")
def test_what_only_looks_changes_nothing(project) -> None:
    """They are told by errors of many kinds; none depends on the error."""
    before = project.snapshot()
    run_hint(project, " && ".join(LOOKS))
    assert project.snapshot() == before
