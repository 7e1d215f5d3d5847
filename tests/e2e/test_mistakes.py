"""A user's mistakes: the cause, the next command, an exit code, nothing changed, no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def refused(box, done: subprocess.CompletedProcess[str], told: str, code: int, before: dict) -> None:
    """What every refusal looks like."""
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert told in output, output
    assert "error: " in done.stderr and "next: " in done.stderr, output
    assert "Traceback" not in output
    assert box.snapshot() == before


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        (["x", "epochz=3"], "unknown parameter 'epochz'", 2),
        (["x", "data.datset=HEAD"], "unknown parameter 'data.datset'", 2),
        (["x", "epochs=-1"], "epochs=-1", 2),
        (["x", "epochs=many"], "epochs='many'", 2),
        (["x", "knowledge_num=5000"], "not a perfect square", 2),
        (["x", "data.dataset=nonsense"], "'nonsense' is not a revision", 3),
        (["x", "epochs"], "is not key=value", 2),
        (["a/b"], "cannot be an experiment id", 2),
        (["run"], "cannot be an experiment id", 2),
        (["-n"], "No such option", 2),
        (["x", "--resume"], "does not exist", 2),
        (["x", "--resume", "epochs=3"], "takes no others", 2),
    ],
)
def test_explicitlm_run(quick, words: list[str], told: str, code: int) -> None:
    before = quick.snapshot()
    done = quick.explicitlm("run", *words, check=False)
    if told == "No such option":  # Click's own form of a message
        assert done.returncode == code and told in done.stderr and quick.snapshot() == before
        return
    refused(quick, done, told, code, before)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("knowledge_num=5000", "not a perfect square"),
        ("epochs=-1", "epochs=-1"),
        ("dim=many", "dim='many'"),
        ("data.dataset=nonsense", "'nonsense' is not a revision"),
    ],
)
def test_dvc_exp_run_in_isolation(quick, override: str, told: str) -> None:
    before = quick.snapshot()
    done = quick.dvc("exp", "run", "--temp", "-n", "x", "-S", override, check=False)
    assert done.returncode != 0 and told in done.stderr and "next: " in done.stderr
    assert "Traceback" not in done.stderr
    assert quick.snapshot() == before
    assert not (quick.root / "logs").exists()


@pytest.mark.hint("git stash push -- params.yaml (DVC left the value there), then a correct -S")
def test_in_the_workspace_the_way_back_is_told(quick) -> None:
    """There DVC itself leaves the values of -S in params.yaml."""
    done = quick.dvc("exp", "run", "-n", "x", "-S", "knowledge_num=5000", check=False)
    assert done.returncode != 0 and "not a perfect square" in done.stderr
    assert "git stash push -- params.yaml" in done.stderr
    quick.git("stash", "push", "-q", "--", "params.yaml")
    assert quick.git("status", "--porcelain") == ""


def test_dvcs_own_unknown_parameter(quick) -> None:
    before = quick.snapshot()
    done = quick.dvc("exp", "run", "-n", "x", "-S", "epochz=3", check=False)
    assert done.returncode != 0 and "epochz" in done.stderr
    assert quick.snapshot() == before


@pytest.mark.parametrize("used_by", ["record", "tag", "experiment"])
def test_an_id_already_used(quick, used_by: str) -> None:
    if used_by == "record":
        path = quick.root / "experiments/records/exp_001.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        quick.commit("a record", "experiments/records/exp_001.json")
    elif used_by == "tag":
        quick.git("tag", "exp_001")
    else:  # on another baseline, where DVC itself would take the name again
        quick.git("update-ref", f"refs/exps/ab/{'c' * 38}/exp_001", "HEAD~1")
    before = quick.snapshot()
    refused(quick, quick.explicitlm("run", "exp_001", check=False), "exp_001 is used", 2, before)
    done = quick.dvc("exp", "run", "--temp", "-n", "exp_001", check=False)
    assert done.returncode != 0 and "exp_001 is used" in done.stderr
    assert quick.snapshot() == before


def test_broken_and_missing_pointers(quick) -> None:
    pointer = quick.root / "data/database.dvc"
    pointer.write_text("<<<<<<< HEAD\n")
    before = quick.snapshot()
    refused(quick, quick.explicitlm("run", "x", check=False), "data/database.dvc is broken", 3, before)
    pointer.unlink()
    before = quick.snapshot()
    refused(quick, quick.explicitlm("run", "x", check=False), "data/database.dvc is missing", 3, before)


def test_data_that_is_nowhere(quick) -> None:
    shutil.rmtree(quick.root / ".dvc/cache")
    shutil.rmtree(quick.root / "data/database")
    done = quick.dvc("exp", "run", "-n", "x", check=False)
    assert done.returncode != 0
    assert "neither in the cache nor on remote local" in done.stderr or "does not exist" in done.stderr
    done = quick.explicitlm("run", "x", check=False)
    assert done.returncode != 0 and "neither in the cache nor on remote local" in done.stderr


def test_not_a_project_not_a_repository(quick, tmp_path) -> None:
    shutil.rmtree(quick.root / ".git")
    done = quick.explicitlm("run", "x", check=False)
    assert done.returncode == 2 and "is not inside a git repository" in done.stderr and "next: " in done.stderr
    done = subprocess.run(["explicitlm", "run", "x"], cwd=tmp_path, env=quick.env, capture_output=True, text=True)
    assert done.returncode == 2 and "is not inside an ExplicitLM project" in done.stderr


def test_dvc_not_initialised(quick) -> None:
    shutil.rmtree(quick.root / ".dvc")
    done = quick.explicitlm("run", "x", check=False)
    assert done.returncode == 2 and "DVC is not initialised" in done.stderr


def test_publish_without_an_experiment_and_without_a_branch(quick) -> None:
    before = quick.snapshot()
    refused(quick, quick.explicitlm("publish", "exp_404", check=False), "there is no experiment exp_404", 2, before)
    quick.git("checkout", "-q", "--detach")
    before = quick.snapshot()
    refused(quick, quick.explicitlm("publish", "exp_404", check=False), "HEAD is detached", 2, before)


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")


def on_a_small_disk(project, line: str, options: str) -> subprocess.CompletedProcess[str]:
    """Runs a line in the project on a disk of its own, in a mount namespace that ends with it."""
    needs_root()
    script = f"""
set -e
mkdir -p /tmp/small-$$ && mount -t tmpfs -o size=300m tmpfs /tmp/small-$$
cp -a {project.root} /tmp/small-$$/project && cd /tmp/small-$$/project
mount -o remount,{options} /tmp/small-$$
set +e
{line}
echo "exit code $?"
"""
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
        env=project.env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_read_only_disk(project) -> None:
    done = on_a_small_disk(project, "explicitlm run x", "ro")
    assert "exit code 0" not in done.stdout and "exit code" in done.stdout, done.stderr
    assert "Read-only file system" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_full_disk_is_refused_before_anything_starts(project) -> None:
    done = on_a_small_disk(project, "head -c 1G /dev/zero > filler 2>/dev/null\nexplicitlm run x", "rw")
    assert "exit code 4" in done.stdout, done.stdout + done.stderr
    assert "No space left on device" in done.stderr and "next: explicitlm archive --dry" in done.stderr


def test_a_disk_that_fills_during_training_loses_nothing(project) -> None:
    line = """
explicitlm run x epochs=100 & run=$!
until grep -qs '^step 5/' logs/x.log; do sleep 0.1; done
head -c 1G /dev/zero > filler 2>/dev/null
wait $run; code=$?
rm filler
git fsck --no-progress && explicitlm run y && git tag
(exit $code)
"""
    done = on_a_small_disk(project, line, "rw")
    assert "exit code 5" in done.stdout, done.stdout + done.stderr
    assert "No space left on device" in done.stdout + done.stderr
    assert "\ny\n" in done.stdout, done.stdout + done.stderr
