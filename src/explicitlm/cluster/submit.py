"""A Slurm job for prepared experiments: one, or an array of several; on one node, or on several with GPUs each.

Before its time limit, and when it is preempted, the job gets a signal: the training saves a state and ends, the job
puts itself back into the queue, and the next start continues to the bit. A job that was killed outright continues from
the last state that the training saved by itself.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from explicitlm.cluster import places
from explicitlm.errors import UsageError
from explicitlm.files import write_text

SCRIPT = r"""#!/bin/bash
# Written by `explicitlm cluster submit`: trains {names}; started again, it continues.
{options}
ids=({ids})
trees=({trees})
index=${{SLURM_ARRAY_TASK_ID:-0}}
cd "${{trees[$index]}}" || exit 2
srun --kill-on-bad-exit=0 {python} -m explicitlm cluster train "${{ids[$index]}}" &
step=$!
warned=
trap 'warned=1; kill -USR1 "$step"' USR1  # the time limit is near
trap 'warned=1; kill -TERM "$step"' TERM  # preempted
while :; do  # a trap ends `wait` early
    wait "$step"; code=$?
    kill -0 "$step" 2>/dev/null || break
done
if [[ $warned && $code -ne 0 ]]; then
    echo "interrupted: back into the queue, to be continued"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60  # Slurm ends this script meanwhile
fi
exit "$code"
"""


@dataclass(frozen=True)
class Wanted:
    """What a job asks of Slurm.

    Attributes:
        nodes: machines of one experiment, each starts the same command. gpus: on each of them.
        time: limit as sbatch knows it; "" is the partition's own.
        warn: seconds before the limit at which the training is told to save and end.
        python: interpreter on the compute nodes.
        more: further options for sbatch, as it knows them.
    """

    nodes: int = 1
    gpus: int = 0
    time: str = ""
    warn: int = 120
    python: str = sys.executable
    more: tuple[str, ...] = ()


def submit(main: Path, experiments: list[str], at: str | None, wanted: Wanted) -> str:
    """Writes the job's script and submits it.

    Args:
        main: the login node's main checkout.
        experiments: prepared ones; several become one array job.
        at: folder on the compute nodes to which they were pushed; None where the file system is shared.

    Returns:
        the number of the job.

    Raises:
        UsageError: one is not prepared, or sbatch refuses, in its words.
    """
    prepared = [places.prepared_tree(main, experiment) for experiment in experiments]
    trees = [f"{at.rstrip('/')}/{experiment}" for experiment in experiments] if at else [str(tree) for tree in prepared]
    folder = main / places.FOLDER / "jobs"
    script = folder / f"{'_'.join(experiments)[:100]}.sh"
    write_text(script, job_script(experiments, trees, at or str(folder), wanted), mode=0o755)
    try:
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True)
    except FileNotFoundError:
        raise UsageError("there is no sbatch here: is this the cluster's login node?",
                         f"submit it where Slurm is: sbatch {script}") from None  # fmt: skip
    if done.returncode:
        raise UsageError(f"sbatch refused: {done.stderr.strip()}", f"sbatch {script}")
    return done.stdout.strip().split(";")[0]


def job_script(experiments: list[str], trees: list[str], logs: str, wanted: Wanted) -> str:
    """The script's text.

    Args:
        logs: folder for the output of the jobs, on the compute nodes.
    """
    several = len(experiments) > 1
    options = [
        f"--job-name=explicitlm-{experiments[0]}",
        f"--output={logs}/%x-{'%A_%a' if several else '%j'}.out",
        "--open-mode=append",
        "--requeue",
        f"--nodes={wanted.nodes}",
        "--ntasks-per-node=1",
        f"--signal=B:USR1@{wanted.warn}",
        *([f"--gpus-per-node={wanted.gpus}"] if wanted.gpus else []),
        *([f"--time={wanted.time}"] if wanted.time else []),
        *([f"--array=0-{len(experiments) - 1}"] if several else []),
        *wanted.more,
    ]
    return SCRIPT.format(
        names=", ".join(experiments),
        options="\n".join(f"#SBATCH {option}" for option in options),
        ids=shlex.join(experiments),
        trees=shlex.join(trees),
        python=shlex.quote(wanted.python),
    )
