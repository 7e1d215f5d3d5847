"""The whole story on two machines that are really apart: see tests/support/two_hosts.sh."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from held import held
from processes import steps_in
from two_host_slurm import AS_RESEARCHER, processes_of_compute

from explicitlm.common.layout import CLUSTER

SWANLAB_KEY = "stand-in-key-that-must-stay-secret"
PLACE = "compute:/srv/proj"
HOME = "/home/researcher"  # sbatch hands on the environment, and a user has one home on a cluster
A = ("-m", "first, 第一个", "epochs=12", "use_swanlab=true", "swanlab_mode=offline", "swanlab_workspace=tester")
# What two runs of one experiment may differ in: when, where and how they were started, what they consumed (one was
# killed and requeued), and names made from the time.
FREE = {
    ("experiment", "timestamp"), ("experiment", "script"), ("versions", "experiment_commit"), ("environment",),
    ("timing",), ("usage",), ("results", "swanlab_url"), ("results", "swanlab_id"), ("results", "swanlab_status"),
}  # fmt: skip


def flat(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """A record's fields by their path, without those that may differ."""
    if path in FREE:
        return {}
    if isinstance(value, dict) and value:
        return {key: leaf for name, part in value.items() for key, leaf in flat(part, (*path, name)).items()}
    return {path: value}


def state(box, url: str) -> dict[str, Any]:
    """What the stand-in holds; asked from the login host."""
    return json.loads(box.run("curl", "-s", f"{url}/_state").stdout)


def test_two_experiments_away_at_once(hosts, hosts_slurm, login, fresh, tmp_path: Path) -> None:
    login = dataclasses.replace(login, prefix=hosts_slurm.host.enter)  # where Slurm knows compute's user
    login.env.update(hosts_slurm.env)
    assert "default" not in hosts.compute("ip route").stdout and hosts.compute("id -un").stdout == "researcher\n"

    # Prepared one after the other, with a commit on main in between.
    login.explicitlm("cluster", "pre", "exp_a", *A)
    login.git("commit", "-q", "--allow-empty", "-m", "main moves on")
    login.explicitlm("cluster", "pre", "exp_b", "seed=7")
    assert "prepared already" in login.explicitlm("cluster", "pre", "exp_b", "seed=7").stdout

    # The first transfer is cut: what is there is refused, with the names; the same command completes it.
    cut = tmp_path / "cut"
    cut.write_text(f'#!/bin/bash\nhead -c 60000 | {hosts.ssh} "$@"\n')
    cut.chmod(0o755)
    broken = login.explicitlm("cluster", "push", "exp_a", PLACE, check=False, RSYNC_RSH=str(cut))
    assert broken.returncode == 4 and "goes on where it stopped" in broken.stderr
    half = hosts.compute("explicitlm cluster train exp_a", check=False)
    assert half.returncode in (2, 3) and ("(missing)" in half.stderr or "is not here" in half.stderr), half.stderr
    login.explicitlm("cluster", "push", "exp_a", PLACE)
    login.explicitlm("cluster", "push", "exp_b", PLACE)
    there = hosts.compute("find exp_a exp_b").stdout
    assert ".git\n" not in there and ".dvc/cache" not in there and "config.local" not in there
    assert "tokens.bin" in there and "text.jsonl" not in there, "the tokens go there, the text stays here"
    shared = hosts.compute("stat -c %h exp_b/data/benchmarks/items.jsonl").stdout
    assert shared == "2\n", "the second push must link the data that the first one brought"

    # A file is tampered with and refused by name; a push mends it.
    hosts.compute("echo '# changed' >> exp_a/src/explicitlm/lm/config.py; echo {} > exp_a/data/benchmarks/more.jsonl")
    refused = hosts.compute("explicitlm cluster train exp_a", check=False)
    assert refused.returncode == 3
    assert "src/explicitlm/lm/config.py" in refused.stderr
    assert "data/benchmarks/more.jsonl (was not sent)" in refused.stderr
    hosts.compute("rm exp_a/data/benchmarks/more.jsonl")
    login.explicitlm("cluster", "push", "exp_a", PLACE)

    # Both train at once: one by hand, one by Slurm, whose node fails in mid-training; Slurm starts it again.
    by_hand = hosts.start_on_compute("cd exp_b && explicitlm cluster train exp_b")
    said = login.explicitlm("cluster", "submit", "exp_a", "--at", "/srv/proj", AS_RESEARCHER, HOME=HOME).stdout
    number = said.split("job ", 1)[1].split(":")[0]
    with held(hosts.folder / "compute/exp_a", lambda: processes_of_compute(hosts)) as (process,):
        early = login.explicitlm("cluster", "fetch", "exp_a", PLACE, check=False)
        assert early.returncode == 2 and "is not sealed" in early.stderr
        assert steps_in(login.root / CLUSTER / "exp_a/logs/exp_a.log") > 0, "what there is so far has come"
        hosts_slurm.call("scontrol", "update", "NodeName=compute", "State=DOWN", "Reason=test")
        process.kill()
    hosts_slurm.wait(number, lambda job: job["JobState"] == "PENDING")
    job = hosts_slurm.ended(number)
    output = hosts.compute(f"cat explicitlm-exp_a-{number}.out").stdout
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1"), output
    assert "continuing from the last resume state" in output
    out, err = by_hand.communicate()
    assert by_hand.returncode == 0, out + err
    assert "sealed already" in hosts.compute("explicitlm cluster train exp_a").stdout

    listed = login.explicitlm("cluster", "list").stdout
    assert "exp_a: prepared" in listed and f"pushed to {PLACE}" in listed and "cluster fetch exp_b" in listed

    # They come back in the other order; weights that were changed on the way are refused.
    login.explicitlm("cluster", "fetch", "exp_b", PLACE)
    weights = login.root / CLUSTER / "exp_b/checkpoints/run/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    wrong = login.explicitlm("cluster", "post", "exp_b", check=False)
    assert wrong.returncode == 3 and "model.safetensors (other content)" in wrong.stderr
    weights.unlink()
    login.explicitlm("cluster", "fetch", "exp_b", PLACE)
    login.explicitlm("cluster", "post", "exp_b")

    # A SwanLab that answers with errors costs nothing but a status; --sync-only finishes it, once.
    login.explicitlm("cluster", "fetch", "exp_a", PLACE)
    swanlab = hosts.serve_swanlab("400:/api/house")
    tracked = {"SWANLAB_API_HOST": swanlab, "SWANLAB_API_KEY": SWANLAB_KEY}
    done = login.explicitlm("cluster", "post", "exp_a", **tracked)
    assert "not uploaded" in done.stdout, (login.root / "logs/exp_a.log").read_text()
    assert login.record("exp_a")["results"]["swanlab_status"] == "planned"
    login.run("curl", "-s", "-X", "POST", "-d", "[]", f"{swanlab}/_faults")
    login.explicitlm("cluster", "post", "exp_a", "--sync-only", **tracked)
    results = login.record("exp_a")["results"]
    assert results["swanlab_status"] == "synced" and results["swanlab_url"].endswith(results["swanlab_id"])
    (run,) = state(login, swanlab)["runs"].values()
    assert run["head"]["cuid"] == results["swanlab_id"] and run["state"] == "FINISHED"
    assert max(map(int, run["scalars"]["train/loss_ce"])) == results["metrics"]["steps"]
    before = login.git("rev-parse", "HEAD")
    login.explicitlm("cluster", "post", "exp_a", **tracked)
    assert login.git("rev-parse", "HEAD") == before and len(state(login, swanlab)["runs"]) == 1
    assert login.git("status", "--porcelain") == "" and not list((login.root / CLUSTER).glob("exp_*"))

    # Field by field it is the record of the same experiment run on one machine, to the hash of the weights.
    local = fresh(tmp_path / "local")
    local.explicitlm("run", "exp_a", *A)
    assert flat(login.record("exp_a")) == flat(local.record("exp_a"))
    assert (login.root / "logs/exp_a.log").exists()

    # The weights come from the S3 store to a clone without any cache.
    clone = dataclasses.replace(login.clone("clone"), prefix=hosts.enter)
    (clone.root / ".dvc/config.local").write_bytes((login.root / ".dvc/config.local").read_bytes())
    clone.git("checkout", "-q", "exp_b")
    clone.dvc("pull", "checkpoints/exp_b.dvc")
    assert (clone.root / "checkpoints/exp_b/model.safetensors").read_bytes() == whole
    assert SWANLAB_KEY not in json.dumps(login.record("exp_a")) + (login.root / "logs/exp_a.log").read_text()
