"""How a training on a cluster may end, and what `post` makes of it; login and compute node share their files here."""

from __future__ import annotations

import json

import pytest
from filelock import FileLock
from processes import kill_all, start, steps_in, wait_for

from explicitlm.cluster.receipt import load_returned
from explicitlm.cluster.taking import second_names
from explicitlm.cluster.train import LOCK
from explicitlm.common.layout import CHECKPOINT, CLUSTER

pytestmark = pytest.mark.slow
LONG = ("epochs=20", "save_interval=3")


def log_of(box, experiment: str):
    """The log as the compute node writes it."""
    return box.root / CLUSTER / experiment / "logs" / f"{experiment}.log"


def train_until_step(box, experiment: str, step: int):
    """Starts the training and waits until it is well under way."""
    process = start(box, "explicitlm", "cluster", "train", experiment)
    wait_for(lambda: steps_in(log_of(box, experiment)) >= step, process)
    return process


@pytest.mark.hint("explicitlm cluster train {}")
def test_interrupted_is_recorded_and_goes_on_to_the_same_bits(warm) -> None:
    warm.explicitlm("run", "whole", *LONG)
    warm.explicitlm("cluster", "pre", "away", "-m", "抢占 preempted", *LONG)
    process = train_until_step(warm, "away", 8)
    process.terminate()  # the launcher alone, as a scheduler does
    out, _ = process.communicate()
    assert process.returncode == 130, out
    assert "next: explicitlm cluster train away" in out and "sealed: interrupted" in out

    shown = warm.explicitlm("cluster", "post", "away").stdout
    assert "away interrupted: interrupted by SIGTERM" in shown
    record = warm.record("away")
    assert (record["status"], record["failure"]["signal"]) == ("interrupted", "SIGTERM")
    assert record["failure"]["exit_code"] == 143 and "step " in record["failure"]["error"]
    assert record["versions"]["checkpoint_hash"] is None and record["timing"]["duration_s"] > 0
    assert warm.git("log", "-1", "--format=%s") == "chore: 添加实验记录 away - 抢占 preempted"
    assert warm.git("tag") == "whole" and warm.git("status", "--porcelain") == ""

    assert "continuing from the last resume state" in warm.explicitlm("cluster", "train", "away").stdout
    warm.explicitlm("cluster", "post", "away")
    away, whole = warm.record("away"), warm.record("whole")
    assert away["status"] == "finished" and away["failure"] is None
    assert away["versions"]["checkpoint_hash"] == whole["versions"]["checkpoint_hash"]
    assert away["results"]["metrics"] == whole["results"]["metrics"]
    assert warm.git("tag").split() == ["away", "whole"] and warm.git("status", "--porcelain") == ""
    assert not (warm.root / CLUSTER / "away").exists()


def test_killed_for_good_keeps_a_record_with_the_logs_end(warm) -> None:
    warm.explicitlm("cluster", "pre", "gone", *LONG)
    kill_all(train_until_step(warm, "gone", 5))
    unsealed = warm.explicitlm("cluster", "post", "gone", check=False)
    assert unsealed.returncode == 2 and "explicitlm cluster post gone --killed" in unsealed.stderr
    warm.explicitlm("cluster", "post", "gone", "--killed")
    record = warm.record("gone")
    assert record["status"] == "interrupted" and "killed on the compute node" in record["failure"]["error"]
    assert "step " in record["failure"]["error"]
    assert warm.git("show", "HEAD:experiments/records/gone.json") == json.dumps(record, ensure_ascii=False, indent=2)

    # It was not for good after all: the training goes on from its last state, and its record is replaced.
    warm.explicitlm("cluster", "train", "gone")
    nowhere = warm.explicitlm("cluster", "fetch", "gone", "/nowhere", check=False)  # costs no receipt that is here
    assert nowhere.returncode == 4 and "next:" in nowhere.stderr
    sealed = warm.explicitlm("cluster", "post", "gone", "--killed", check=False)
    assert sealed.returncode == 2 and "was not killed: it is sealed" in sealed.stderr
    warm.explicitlm("cluster", "post", "gone")
    assert warm.record("gone")["status"] == "finished"


def test_failed_there_is_a_failed_record_here(warm) -> None:
    script = warm.root / "1_pretrain.py"
    script.write_text(script.read_text().replace("import sys\n", "raise SystemExit('no such luck')\n", 1))
    warm.commit("broken code", "1_pretrain.py")
    warm.explicitlm("cluster", "pre", "bad")
    done = warm.explicitlm("cluster", "train", "bad", check=False)
    assert done.returncode == 5 and "Traceback" not in done.stdout + done.stderr
    assert "sealed: failed" in done.stdout
    warm.explicitlm("cluster", "post", "bad")
    record = warm.record("bad")
    assert record["status"] == "failed" and "no such luck" in record["failure"]["error"]
    assert warm.git("tag") == "" and warm.git("status", "--porcelain") == ""
    before = warm.git("rev-parse", "HEAD")
    warm.explicitlm("cluster", "post", "bad")
    assert warm.git("rev-parse", "HEAD") == before


def test_weights_that_a_killed_dvc_had_just_moved_into_the_cache_are_put_back(warm) -> None:
    warm.explicitlm("cluster", "pre", "away")
    warm.explicitlm("cluster", "train", "away")
    tree = warm.root / CLUSTER / "away"
    weights = tree / CHECKPOINT / "model.safetensors"
    files = load_returned(tree, "away").files
    moved = warm.root / "as-in-the-cache"
    with pytest.raises(KeyboardInterrupt), second_names(tree, files):
        weights.rename(moved)
        raise KeyboardInterrupt  # as if DVC had been killed here, and post with it
    moved.chmod(0o444)
    warm.explicitlm("cluster", "post", "away")
    assert warm.record("away")["status"] == "finished" and not tree.exists()
    pulled = warm.root / "checkpoints/away/model.safetensors"
    assert pulled.read_bytes() == moved.read_bytes()


def test_a_broken_text_is_told_before_a_node_is_asked_for(warm) -> None:
    (warm.root / "data/database/text.jsonl").unlink()
    (warm.root / "data/database/text.jsonl").write_text('{"text": "fine"}\n{"text": broken\n')
    warm.dvc("add", "-q", "data/database")
    warm.commit("broken data", "data/database.dvc")
    refused = warm.explicitlm("cluster", "pre", "bad", check=False)
    assert refused.returncode == 3 and "text.jsonl, line 2: broken JSON" in refused.stderr


def test_training_twice_at_once_is_refused(warm) -> None:
    warm.explicitlm("cluster", "pre", "twice", *LONG)
    first = train_until_step(warm, "twice", 3)
    second = warm.explicitlm("cluster", "train", "twice", check=False)
    assert second.returncode == 2 and "trains here already" in second.stderr
    (here,) = json.loads(warm.explicitlm("cluster", "list", "--json").stdout)["pending"]
    assert (here["id"], here["pushed_to"], here["returned"]) == ("twice", None, None)
    kill_all(first)
    with FileLock(warm.root / CLUSTER / "twice" / LOCK, blocking=False):
        pass  # a training that died holds nothing
