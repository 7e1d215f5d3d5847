"""Jobs on a real Slurm: what is interrupted goes on by itself and ends in the same weights."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from held import held, is_told
from processes import wait_for

from explicitlm.cluster import receipt
from explicitlm.common import layout

pytestmark = pytest.mark.slow
IDS = ("exp_whole", "exp_killed", "exp_warned")


@dataclass(frozen=True)
class Jobs:
    """A project with three experiments that differ in nothing but their names, and the cluster.

    Attributes:
        elsewhere: folder into which an experiment can be pushed to be trained once more.
    """

    box: Any
    slurm: Any
    elsewhere: Path

    def tree(self, name: str) -> Path:
        """Where an experiment of the array trains: in the shared file system."""
        return self.box.root / layout.CLUSTER / name

    def pushed(self, name: str) -> Path:
        """Another copy of the first experiment, to be submitted with --at its parent."""
        self.box.explicitlm("cluster", "push", IDS[0], str(self.elsewhere / name))
        return self.elsewhere / name / IDS[0]

    def submit(self, *words: str) -> str:
        """Submits and gives the job's number."""
        return self.box.explicitlm("cluster", "submit", *words).stdout.split("job ", 1)[1].split(":")[0]

    def states(self) -> dict[str, str]:
        """What `explicitlm ps` says of each experiment that is under way."""
        return {run["id"]: run["state"] for run in json.loads(self.box.explicitlm("ps", "--json").stdout)["runs"]}

    def output(self, folder: Path, number: str) -> str:
        """What a job wrote."""
        return (folder / f"explicitlm-{IDS[0]}-{number}.out").read_text()


@pytest.fixture(scope="module")
def jobs(fresh, slurm, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """Everything prepared once."""
    box = fresh(tmp_path_factory.mktemp("jobs"))
    box.env.update(slurm.env)
    for name in IDS:
        box.explicitlm("cluster", "pre", name, "epochs=12")
    return Jobs(box, slurm, tmp_path_factory.mktemp("jobs") / "else where")


@pytest.fixture(scope="module")
def whole(jobs) -> dict[str, str]:
    """What the undisturbed training leaves."""
    job = jobs.slurm.ended(number := jobs.submit(IDS[0]))
    output = jobs.output(jobs.tree("jobs"), number)
    assert job["JobState"] == "COMPLETED" and job["Restarts"] == "0", output
    return weights(jobs.tree(IDS[0]))


def weights(tree: Path) -> dict[str, str]:
    """The checkpoint that a finished training sealed, and its metrics."""
    returned = receipt.load_returned(tree, tree.name)
    assert returned.status == "finished"
    names = [name for name in returned.files if name.startswith("checkpoints/") or name.endswith("/metrics.json")]
    assert len(names) == 5
    return {name: returned.files[name].sha256 or "" for name in names}


def test_an_array_whose_jobs_are_killed_and_warned_ends_in_the_same_weights(jobs, whole) -> None:
    array = jobs.submit(*IDS)
    # Killed in mid-training, it has failed, and nothing repeats it; the user lets Slurm start it again.
    with held(jobs.tree("exp_killed")) as (process,):
        process.kill()
    job = jobs.slurm.ended(f"{array}_1")
    assert job["JobState"] == "FAILED" and job["ExitCode"] == "5:0" and job["Restarts"] == "0"
    jobs.slurm.call("scontrol", "requeue", f"{array}_1")
    # The last job of an array has the number of the whole array: only this one may go back into the queue.
    with held(jobs.tree("exp_warned")) as (process,):
        jobs.slurm.call("scancel", "--batch", "--signal=USR1", f"{array}_2")
        wait_for(lambda: is_told(process))
    for index, name in enumerate(IDS):
        job = jobs.slurm.ended(f"{array}_{index}")
        output = jobs.output(jobs.tree("jobs"), f"{array}_{index}")
        assert job["JobState"] == "COMPLETED" and job["Restarts"] == str(int(index > 0)), output
        assert ("continuing from the last resume state" in output) == (index > 0), output
        assert ("back into the queue" in output) == (index == 2), output
        assert weights(jobs.tree(name)) == whole
    assert "is trained and sealed already" in jobs.output(jobs.tree("jobs"), f"{array}_0")
    jobs.box.explicitlm("cluster", "post", "exp_warned")
    record = jobs.box.record("exp_warned")
    assert record["status"] == "finished" and record["failure"] is None


def test_a_job_that_waits_is_pending_until_it_is_gone(jobs) -> None:
    array = jobs.submit(*IDS[:2], "--sbatch=--hold")
    assert {name: state for name, state in jobs.states().items() if name in IDS[:2]} == dict.fromkeys(
        IDS[:2], "pending"
    )
    jobs.slurm.call("scancel", array)
    assert "pending" not in jobs.states().values()


def test_a_real_time_limit_is_survived(jobs, whole) -> None:
    tree = jobs.pushed("limit")
    # Slurm looks at the limits every 30 s, and warns up to 60 s early: here 0 to 30 s after the start.
    number = jobs.submit(IDS[0], "--at", str(tree.parent), "--warn", "30", "--sbatch=--time=1")
    with held(tree) as (process,):
        wait_for(lambda: is_told(process) or jobs.slurm.job(number)["Restarts"] != "0")
    job = jobs.slurm.ended(number)
    output = jobs.output(tree.parent, number)
    assert job["JobState"] == "COMPLETED" and int(job["Restarts"]) >= 1, output
    assert "back into the queue" in output and "DUE TO TIME LIMIT" not in output
    assert weights(tree) == whole


def test_preemption_is_survived_and_the_urgent_job_runs(jobs, whole) -> None:
    tree = jobs.pushed("preempted")
    number = jobs.submit(IDS[0], "--at", str(tree.parent))
    with held(tree) as (process,):
        line = ("--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
        urgent = jobs.slurm.call("sbatch", *line).strip()
        wait_for(lambda: is_told(process))  # by Slurm itself, which tells the script nothing
    assert jobs.slurm.ended(urgent)["JobState"] == "COMPLETED"
    job = jobs.slurm.ended(number)
    output = jobs.output(tree.parent, number)
    assert job["JobState"] == "COMPLETED" and job["Restarts"] == "1" and "back into the queue" in output, output
    assert weights(tree) == whole


def test_what_is_cancelled_stays_cancelled_and_can_be_continued_by_hand(jobs, whole) -> None:
    tree = jobs.pushed("cancelled")
    number = jobs.submit(IDS[0], "--at", str(tree.parent))
    with held(tree) as (process,):
        assert jobs.states()[IDS[0]] == "running"
        jobs.slurm.call("scancel", number)
        wait_for(lambda: is_told(process))
    job = jobs.slurm.ended(number)
    output = jobs.output(tree.parent, number)
    assert job["JobState"] == "CANCELLED" and job["Restarts"] == "0" and "back into the queue" not in output, output
    assert receipt.load_returned(tree, IDS[0]).status == "interrupted"
    assert jobs.slurm.ended(jobs.submit(IDS[0], "--at", str(tree.parent)))["JobState"] == "COMPLETED"
    assert weights(tree) == whole


def test_two_nodes_of_two_gpus_each_stop_and_go_on_together(jobs, whole) -> None:
    wide = ("--nodes", "2", "--gpus-per-node", "2")
    trees = [jobs.pushed("wide"), jobs.pushed("wide_warned")]
    numbers = [jobs.submit(IDS[0], "--at", str(tree.parent), *wide) for tree in trees]
    with held(trees[1]) as processes:
        assert len(processes) == 4
        jobs.slurm.call("scancel", "--batch", "--signal=USR1", numbers[1])
        wait_for(lambda: all(map(is_told, processes)))
    for index, (tree, number) in enumerate(zip(trees, numbers, strict=True)):
        job = jobs.slurm.ended(number)
        assert job["JobState"] == "COMPLETED" and job["Restarts"] == str(index), jobs.output(tree.parent, number)
        assert '"world_size": 4' in (tree / layout.run_dir(IDS[0]) / "environment.json").read_text()
    assert weights(trees[0]) == weights(trees[1])


def test_a_process_lost_on_the_second_node_ends_the_job_on_both(jobs) -> None:
    tree = jobs.pushed("lost")
    number = jobs.submit(IDS[0], "--at", str(tree.parent), "--nodes", "2", "--gpus-per-node", "2")
    with held(tree) as processes:
        next(process for process in processes if process.environ()["RANK"] == "3").kill()
    job = jobs.slurm.ended(number)
    output = jobs.output(tree.parent, number)
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "5:0", "0"), output
    assert receipt.load_returned(tree, IDS[0]).status == "failed"


def test_what_cannot_start_fails_once_with_the_reason(jobs) -> None:
    tree = jobs.pushed("changed")
    with (tree / "src/explicitlm/lm/config.py").open("a") as file:
        file.write("# changed")
    numbers = [jobs.submit(IDS[0], "--at", str(tree.parent), *more) for more in ([], ["--python", "/nowhere/python"])]
    for number, code, reason in zip(numbers, ("3:0", "2:0"), ("config.py", "/nowhere/python: No such"), strict=True):
        job = jobs.slurm.ended(number)
        assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", code, "0")
        assert reason in jobs.output(tree.parent, number)


def test_mistakes_are_told_before_anything_is_submitted(jobs, tmp_path: Path) -> None:
    for words, reason in (
        (["exp_none"], "exp_none is not prepared"),
        ([IDS[0], IDS[0]], "named twice"),
        ([IDS[0], "--at", "gpu01:/scratch"], "not an absolute path"),
        ([IDS[0], "--time", "2"], "leaves no time to train"),
        ([IDS[0], "--sbatch=--partition=none"], "invalid partition specified: none"),
    ):
        refused = jobs.box.explicitlm("cluster", "submit", *words, check=False)
        assert refused.returncode == 2 and reason in refused.stderr and "next:" in refused.stderr, refused.stderr
    # Without Slurm the script is kept, and the user told.
    for name in ("git", "explicitlm", "env"):
        found = next(place for place in jobs.box.env["PATH"].split(os.pathsep) if (Path(place) / name).exists())
        (tmp_path / name).symlink_to(Path(found) / name)
    refused = jobs.box.explicitlm("cluster", "submit", IDS[0], check=False, PATH=str(tmp_path))
    assert refused.returncode == 2 and "no sbatch" in refused.stderr
    assert (jobs.tree("jobs") / f"{IDS[0]}.sh").stat().st_mode & 0o100
