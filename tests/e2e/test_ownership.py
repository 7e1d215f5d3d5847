"""One run, one owner, one truth about how it ended: whatever is killed, and whoever else is at work."""

from __future__ import annotations

import signal

import psutil
import pytest
from processes import descendants, kill_all, start, steps_in, wait_for

from explicitlm.common import layout

LONG = ("epochs=30", "save_interval=3")


def begun(box, experiment: str, *words: str, step: int = 5):
    """A run that is well under way."""
    process = start(box, *words)
    wait_for(lambda: steps_in(box.root / layout.log(experiment)) >= step)
    return process


def next_of(output: str) -> str:
    """The command that an error names last."""
    return output.rsplit("  next: ", 1)[1].splitlines()[0]


def test_a_second_run_of_an_id_is_refused_and_the_first_unharmed(warm) -> None:
    process = begun(warm, "x", "explicitlm", "run", "x", *LONG)
    for words in (("run", "x"), ("run", "x", "--resume"), ("publish", "x"), ("cluster", "pre", "x")):
        done = warm.explicitlm(*words, check=False)
        assert done.returncode == 2 and "x is at work: explicitlm run x" in done.stderr, done.stderr
    by_dvc = warm.dvc("exp", "run", "--temp", "-n", "x", check=False)
    assert by_dvc.returncode != 0 and "x is at work" in by_dvc.stderr
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert warm.record("x")["status"] == "finished" and warm.git("tag") == "x"


def test_two_plain_runs_at_once(warm) -> None:
    before = warm.git("rev-parse", "HEAD")
    first = begun(warm, "first", "dvc", "exp", "run", "-n", "first", "-S", "seed=11", "-S", "epochs=30")
    for more in ((), ("--temp",)):
        second = warm.dvc("exp", "run", *more, "-n", "second", "-S", "seed=22", check=False)
        assert second.returncode != 0 and "'workspace' is busy" in second.stderr, second.stderr
    for words in (("publish", "first"), ("run", "other")):
        done = warm.explicitlm(*words, check=False)
        assert done.returncode == 2 and "at work" in done.stderr and "next: wait" in done.stderr, done.stderr
    assert warm.git("rev-parse", "HEAD") == before and warm.git("branch", "--show-current") == ""
    out, _ = first.communicate()
    assert first.returncode == 0, out
    assert warm.record("first")["seed"] == 11 and warm.git("branch", "--show-current") == "main"
    assert warm.git("show", "refs/heads/main:params.yaml").count("seed: 1337") == 1
    warm.explicitlm("publish", "first")
    wait_for(lambda: "workspace" not in (warm.root / ".dvc/tmp/exps/rwlock").read_text())
    later = warm.dvc("exp", "run", "-n", "third", "-S", "seed=33")
    assert "had been killed" not in later.stdout + later.stderr


def test_a_plain_run_that_was_killed_is_told_and_nothing_is_committed(warm) -> None:
    before = warm.git("rev-parse", "main")
    (warm.root / "README.md").write_text("the user's unfinished words\n")
    kill_all(begun(warm, "gone", "dvc", "exp", "run", "-n", "gone", "-S", "epochs=30"))
    wait_for(lambda: "workspace" not in (warm.root / ".dvc/tmp/exps/rwlock").read_text())
    done = warm.explicitlm("publish", "gone", check=False)
    assert done.returncode == 2 and "was killed here and left" in done.stderr
    assert "HEAD detached (it was started on branch main)" in done.stderr
    warm.shell(next_of(done.stderr).split(" (")[0])
    assert warm.git("branch", "--show-current") == "main" and warm.git("rev-parse", "main") == before
    assert (warm.root / "README.md").read_text() == "the user's unfinished words\n"
    assert " M README.md" in warm.run("git", "status", "--porcelain").stdout
    warm.explicitlm("publish", "gone")
    assert warm.record("gone")["status"] == "interrupted"
    assert warm.git("show", "--format=", "--name-only", "HEAD").split() == [layout.record("gone")]


def test_after_a_kill_while_a_plain_run_starts_doctor_names_all_that_is_in_its_way(warm) -> None:
    def refused() -> None:
        assert warm.dvc("exp", "run", "-n", "x", "-S", "seed=7", check=False).returncode != 0

    warm.dvc("exp", "run", "-n", "gone", "-S", "seed=6")
    of_gone = warm.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    warm.shell("git checkout -q -- . && git update-ref -d " + next(ref for ref in of_gone if ref.endswith("/gone")))
    # As DVC is killed when its experiment's stash is about to be put in its place, and an earlier one after its commit
    warm.git("checkout", "-q", "--detach")
    (warm.root / ".dvc/tmp/repro.dat").write_bytes(b"")
    warm.git("add", "--force", ".dvc/tmp/repro.dat")
    for name in ("refs/exps/stash.lock", "index.lock"):
        lock = warm.root / ".git" / name
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    refused()
    told = warm.explicitlm("doctor", check=False).stdout
    assert "stash.lock" in told and "index.lock" in told and "HEAD detached" in told
    assert "git add" not in told  # what DVC has staged is no code
    warm.shell(next(line for line in told.splitlines() if "next: " in line).split("next: ")[1].split(" (loses")[0])
    warm.git("symbolic-ref", "refs/exps/exec/EXEC_BRANCH", next(ref for ref in of_gone if ref.endswith("/gone")))
    warm.dvc("exp", "run", "-n", "x", "-S", "seed=7")
    warm.explicitlm("publish", "x")
    assert warm.record("x")["status"] == "finished" and warm.record("x")["seed"] == 7


def test_killed_with_everything_an_interrupted_run_goes_on(warm) -> None:
    warm.explicitlm("run", "whole", *LONG)
    kill_all(begun(warm, "x", "explicitlm", "run", "x", *LONG, step=8))
    refused = warm.explicitlm("run", "x", *LONG, check=False)
    assert refused.returncode == 2 and "left a state to continue from" in refused.stderr
    by_dvc = warm.dvc("exp", "run", "--temp", "-n", "x", check=False)
    assert by_dvc.returncode != 0 and "left a state" in by_dvc.stderr
    assert next_of(refused.stderr).startswith("explicitlm run x --resume")
    more = warm.root / "data/database/more.jsonl"
    more.write_text('{"text": "new"}\n')  # checked as a new run is
    unready = warm.explicitlm("run", "x", "--resume", check=False)
    assert unready.returncode == 3 and "was changed without dvc add" in unready.stderr
    more.unlink()
    warm.explicitlm("run", "x", "--resume")
    resumed, whole = warm.record("x"), warm.record("whole")
    assert resumed["versions"]["checkpoint_hash"] == whole["versions"]["checkpoint_hash"]


@pytest.mark.parametrize("part", ["dvc", "explicitlm.pipeline.train"])
def test_a_part_that_is_killed_leaves_an_interrupted_record(warm, part: str) -> None:
    process = begun(warm, "x", "explicitlm", "run", "x", *LONG, step=8)
    (victim,) = [child for child in descendants(process, part) if "python" in child.name() and _is(child, part)]
    victim.kill()
    out, _ = process.communicate()
    assert process.returncode == 5 and "next: explicitlm run x --resume" in out, out
    assert warm.record("x")["status"] in ("interrupted", "failed")
    wait_for(lambda: not [one for one in psutil.process_iter() if _trains(one, warm)])
    warm.explicitlm("run", "x", "--resume")
    assert warm.record("x")["status"] == "finished"


def _is(process: psutil.Process, part: str) -> bool:
    return part in process.cmdline()[1:3] or (part == "dvc" and "dvc" in process.cmdline()[2])


def _trains(process: psutil.Process, box) -> bool:
    try:
        return process.environ().get("EXPLICITLM_RUN_DIR", "").startswith(str(box.root))
    except psutil.Error:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_alone_saves_at_once(warm, number: signal.Signals) -> None:
    process = begun(warm, "x", "explicitlm", "run", "x", *LONG)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == 5 and "next: explicitlm run x --resume" in out, out
    record = warm.record("x")
    assert (record["status"], record["failure"]["signal"]) == ("interrupted", number.name)


@pytest.mark.hint("{}; then: explicitlm publish {}")
def test_a_publish_that_fails_after_training_leads_to_publish(warm) -> None:
    storage = warm.root.parent / "explicitlm-storage"
    process = begun(warm, "x", "explicitlm", "run", "x", step=1)
    storage.write_text("a file where the remote should be")
    out, _ = process.communicate()
    assert process.returncode != 0 and "x is trained and kept" in out, out
    assert next_of(out).endswith("explicitlm publish x") and "Traceback" not in out
    storage.unlink()
    assert "explicitlm publish x" in warm.explicitlm("run", "x", "--resume", check=False).stderr
    warm.explicitlm("publish", "x")
    assert warm.git("tag") == "x"


def test_data_that_changed_during_the_training_is_a_finding(warm) -> None:
    process = begun(warm, "x", "explicitlm", "run", "x", *LONG)
    (tree,) = (warm.root / ".dvc/tmp/exps/standalone").glob("tmp*")
    text = tree / "data/database/text.jsonl"
    content = text.read_bytes()
    text.unlink()
    text.write_bytes(content.replace(b"lives", b"sleep"))
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert "changed while it ran: data/database/text.jsonl" in out
    assert "data/database/text.jsonl" in warm.record("x")["findings"]["changed_during_run"]
