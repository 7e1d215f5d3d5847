"""A Slurm job for prepared experiments: one, or an array of several; on one node, or on several with GPUs each.

Before its time limit, and when it is preempted, a job is told by a signal: the training saves a state and ends, the job
puts itself back into the queue, and the next start continues bit for bit. After the failure of a node Slurm starts it
again by itself. A training that failed by itself is not repeated, and a job that was cancelled stays so.

submitit is not used: it pickles a Python function and its own Python into the job, while here a plain script, kept
beside the experiment, starts what was sealed, and Slurm (not a process on the login node) puts it back into the queue.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from explicitlm.cluster import trees
from explicitlm.cluster.schedulers.protocol import JobRequest
from explicitlm.cluster.schedulers.slurm_node import SlurmNode, own_node
from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text

# What counts is how the training ended: Slurm tells the script of the time limit, but of a preemption with grace time
# only the training. 130 is `cluster train` interrupted; 138 and 143 are USR1 and TERM before it could listen. Of an
# array, $SLURM_JOB_ID may be the number of all its jobs. --wait: if a node is lost, the others do not wait for ever.
SCRIPT = r"""#!/bin/bash
# Written by `explicitlm cluster submit`: trains {names}; started again, it continues.
{options}
ids=({ids})
trees=({trees})
index=${{SLURM_ARRAY_TASK_ID:-0}}
job=$SLURM_JOB_ID step= told=
[[ -z $SLURM_ARRAY_TASK_ID ]] || job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
tell() {{ told=1; [[ -z $step ]] || kill -USR1 "$step" 2>/dev/null; }}  # at TERM srun would kill the training
trap tell USR1 TERM
cd "${{trees[$index]}}" || exit 2
[[ -z $SLURM_CPUS_PER_TASK ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # srun no longer takes it by itself
srun --kill-on-bad-exit=0 --wait=600 {python} -c {start} cluster train "${{ids[$index]}}" &
step=$!
[[ -z $told ]] || tell
while wait "$step"; kill -0 "$step" 2>/dev/null; do :; done  # a trap ends `wait` early
wait "$step"; code=$?
trap '' USR1; trap - TERM
# Cancelled, it is COMPLETING by now.
if [[ $code =~ ^(130|138|143)$ && $(squeue --noheader --jobs="$job" --format=%T) == RUNNING ]]; then
    echo "interrupted: back into the queue, to be continued"
    scontrol requeue "$job" && sleep 600  # Slurm ends this script meanwhile
fi
exit "$code"
"""


# `python -m` would import from the tree that it stands in, before anything there is checked.
START = "import sys; sys.path[:] = filter(None, sys.path); from explicitlm.cli.main import main; sys.exit(main())"
IDS = re.compile(r"^ids=\((.*)\)$", re.MULTILINE)  # in SCRIPT
ANSWER_S = 10  # that squeue has: a cluster's controller may be busy
EARLY_S = 60  # by so much Slurm may be early: see --signal in sbatch(1)


class Slurm:
    """See `protocol.Scheduler`."""

    def submit(self, main: Path, experiments: list[str], at: str | None, request: JobRequest) -> str:
        """Writes the job's script and gives it to sbatch."""
        return submit(main, experiments, at, request)

    def jobs(self, main: Path) -> dict[str, str]:
        """Asked of squeue, which names the script of each job."""
        return jobs(main)

    def own_node(self, environment: Mapping[str, str]) -> SlurmNode | None:
        """Read from the variables that srun sets."""
        return own_node(environment)


def submit(main: Path, experiments: list[str], at: str | None, request: JobRequest) -> str:
    """Writes the job's script and submits it.

    Args:
        main: the login node's main checkout.
        experiments: prepared ones; several become one array job.
        at: folder on the compute nodes to which they were pushed; None where the file system is shared.

    Returns:
        the number of the job.

    Raises:
        UsageError: what could only fail, before anything is submitted; or sbatch refuses, in its words.
    """
    if at and not at.startswith("/"):
        raise UsageError(
            f"--at {at} is not an absolute path on the compute nodes", "--at /DIR, the one of push HOST:/DIR"
        )
    if (limit := _seconds(request.time)) and limit <= request.warn + EARLY_S:
        raise UsageError(f"a limit of {limit} s leaves no time to train: Slurm announces it {request.warn} s before, "
                         f"or up to {EARLY_S} s earlier than that", "a longer --time, or a shorter --warn")  # fmt: skip
    if duplicates := [experiment for experiment in experiments if experiments.count(experiment) > 1]:
        raise UsageError(f"{duplicates[0]} is named twice: two jobs would train in one folder", "each id once")
    prepared = [trees.prepared_tree(main, experiment) for experiment in experiments]
    folders = (
        [f"{at.rstrip('/')}/{experiment}" for experiment in experiments] if at else [str(tree) for tree in prepared]
    )
    folder = _jobs_folder(main)
    script = folder / f"{'_'.join(experiments)[:100]}.sh"
    write_text(script, job_script(experiments, folders, at or str(folder), request), mode=0o755)
    try:
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True)
    except FileNotFoundError:
        raise UsageError("there is no sbatch here: is this the cluster's login node?",
                         f"submit it where Slurm is: sbatch {shlex.quote(str(script))}") from None  # fmt: skip
    if done.returncode:
        raise UsageError(f"sbatch refused: {done.stderr.strip()}", f"sbatch {shlex.quote(str(script))}")
    return done.stdout.strip().split(";")[0]


def jobs(main: Path) -> dict[str, str]:
    """States of the user's jobs by experiment, for those whose script `submit` wrote here."""
    command = ["squeue", "--me", "--array", "--noheader", "--format=%T|%K|%o"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found = {}
    for state, index, script in (line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") > 1):
        path = Path(script)
        if path.parent != _jobs_folder(main) or not path.is_file():
            continue
        ids = IDS.search(path.read_text(encoding="utf-8"))
        names = shlex.split(ids[1]) if ids else []
        place = int(index) if index.isdigit() else 0
        if place < len(names):
            found[names[place]] = state.lower()
    return found


def _jobs_folder(main: Path) -> Path:
    """Where the scripts of submitted jobs stay."""
    return main / layout.CLUSTER / "jobs"


def job_script(experiments: list[str], trees: list[str], logs: str, request: JobRequest) -> str:
    """The script's text.

    Args:
        logs: folder for the output of the jobs, on the compute nodes.
    """
    several = len(experiments) > 1
    options = [
        f"--job-name=explicitlm-{experiments[0]}",
        f"--output={shlex.quote(f'{logs}/%x-')}{'%A_%a' if several else '%j'}.out",
        "--open-mode=append",
        "--requeue",
        f"--nodes={request.nodes}",
        "--ntasks-per-node=1",
        f"--signal=B:USR1@{request.warn}",
        *([f"--gpus-per-node={request.gpus}"] if request.gpus else []),
        *([f"--time={request.time}"] if request.time else []),
        *([f"--array=0-{len(experiments) - 1}"] if several else []),
        *request.more,
    ]
    return SCRIPT.format(
        names=", ".join(experiments),
        options="\n".join(f"#SBATCH {option}" for option in options),
        ids=shlex.join(experiments),
        trees=shlex.join(trees),
        python=shlex.quote(request.python),
        start=shlex.quote(START),
    )


def _seconds(time: str) -> int | None:
    """A limit as sbatch writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; None for what only sbatch can judge."""
    days, dash, rest = time.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in (*parts, days or "0")) or len(parts) > 3:
        return None
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    return int(days or 0) * 86400 + sum(int(part) * unit for part, unit in zip(parts, units, strict=False))
