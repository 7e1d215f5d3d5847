"""Every path of the project that is ours, relative to its root, in one place.

Two roots exist (see `explicitlm.vcs.workspace.Workspace`); a path here is the same in both.
"""

from __future__ import annotations

# What git tracks at the top
PIPELINE = "dvc.yaml"
PIPELINE_LOCK = "dvc.lock"
PARAMS = "params.yaml"
TRAINING_SCRIPT = "1_pretrain.py"
REQUIREMENTS = "requirements.lock"
WEIGHT_CODE = (TRAINING_SCRIPT, "src/explicitlm/lm", "src/explicitlm/common", REQUIREMENTS)  # decides the weights

# What the stages hand on
RUN = "experiments/run"
MANIFEST = f"{RUN}/manifest.json"  # sealed by sync_data, before the training
DATA_VERSIONS = f"{RUN}/data.json"  # content hashes of the datasets in use: what train depends on
RESULT = f"{RUN}/result.json"  # written by train, after the training
METRICS = f"{RUN}/metrics.json"
DIGESTS = f"{RUN}/digests.csv"
CHECKPOINT = "checkpoints/run"  # train's own out: the weights of the run in this workdir
ITEMS = "experiments/items.jsonl.zst"  # an out of train too: what the model answered, a row an item
CHECKPOINT_FILES = ("model.safetensors", "config.json", "tokenizer.json")

# What is kept of each experiment
CHECKPOINTS = "checkpoints"  # a link to POINTERS: the name by which people and DVC reach pointers and weights
POINTERS = "experiments/checkpoints"  # where git has the pointers; DVC's own walk skips the folder (.dvcignore)
RECORDS = "experiments/records"
EQUIVALENT = "experiments/equivalent"  # versions of lm/ that were seen to train alike
VERDICTS = "experiments/verdicts"  # what came of running experiments again, a folder each
SIGNATURES = "experiments/signatures"  # of weights, record and seal together

# What stays on this machine
LOCAL = ".explicitlm"
RUNS = f"{LOCAL}/runs"
CLUSTER = f"{LOCAL}/cluster"
TEXT_NOTE = f"{LOCAL}/text.json"  # in a tree: what was prepared of the training text (lm/data/prepare.py)
ROWS = f"{LOCAL}/rows.json"  # what was read of the records, to be read faster
SENT = f"{LOCAL}/sent.json"  # in a cluster tree: the receipt of what left the login node
RETURNED = f"{LOCAL}/returned.json"  # and of what the training left
PUSHED = f"{LOCAL}/pushed"  # where `cluster push` sent it last
PROOFS = f"{LOCAL}/proofs"  # trees in which experiments are run again, and the logs of that
OWNERS = f"{LOCAL}/owners"  # which processes are at work on an experiment
ASIDE = f"{LOCAL}/aside"  # what a hint told the user to put aside
LOGS = "logs"
REPORTS = (
    "status.json",
    "environment.json",
    "tracker.json",
    "inputs.json",
    "usage.json",
    "knowledge.json",
)  # of a training, in its run folder
STATES = "states"  # resume states, in the run folder


def record(experiment: str) -> str:
    """The record of an experiment."""
    return f"{RECORDS}/{experiment}.json"


def weights(experiment: str) -> str:
    """The weights of a published experiment, where DVC puts them."""
    return f"{CHECKPOINTS}/{experiment}"


def weights_pointer(experiment: str) -> str:
    """The .dvc file of an experiment's weights, as DVC is told it."""
    return f"{CHECKPOINTS}/{experiment}.dvc"


def pointer_file(experiment: str) -> str:
    """The same file, as git has it: git names nothing beyond a link."""
    return f"{POINTERS}/{experiment}.dvc"


def run_dir(experiment: str) -> str:
    """What one run keeps on this machine only: resume states, reports, SwanLab's files."""
    return f"{RUNS}/{experiment}"


def log(experiment: str) -> str:
    """The output of one training."""
    return f"{LOGS}/{experiment}.log"


def cluster_tree(experiment: str) -> str:
    """The git worktree of an experiment that trains on a cluster."""
    return f"{CLUSTER}/{experiment}"


def verdicts(experiment: str) -> str:
    """What came of running an experiment again: a file for each check."""
    return f"{VERDICTS}/{experiment}"


def signature(experiment: str) -> str:
    """Who stands for an experiment: one signature of its weights, record and seal."""
    return f"{SIGNATURES}/{experiment}.sig"
