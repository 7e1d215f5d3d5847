"""The record of an experiment: versions, parameters, results, and the commands that reproduce it.

Every field is explained in experiments/records/README.md; a test keeps the two in step.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import Checked, Open


class Experiment(Checked, frozen=True):
    """What was run, when and how."""

    id: str
    description: str
    timestamp: str
    script: str
    command: str


class FirstCommits(Checked, frozen=True):
    """The datasets that every record has."""

    dataset_commit: str | None
    val_dataset_commit: str | None
    embedding_commit: str | None
    database_init_commit: str | None
    cache_commit: str | None


class DataCommits(Open):
    """The commit of each dataset's version, by `Dataset.record_key`; a dataset that is added later has its own key."""

    known = FirstCommits
    mapping = dict[str, str | None]

    def __init__(self, /, **values: str | None) -> None:
        super().__init__(**values)
        if wrong := [name for name in self if not name.endswith("_commit")]:
            raise ValueError(f"not the commit of a dataset: {', '.join(map(repr, wrong))}")


class Versions(Checked, frozen=True):
    """Code, data and weights by their versions."""

    code_commit: str
    code_commit_short: str
    data: DataCommits
    checkpoint_dvc: str | None
    checkpoint_hash: str | None
    checkpoint_hash_short: str | None
    experiment_commit: str | None
    experiment_tag: str | None


class Code(Checked, frozen=True):
    """How the code differed from `versions.code_commit`."""

    dirty: bool
    changed: list[str]
    diff_sha256: str | None
    untracked: list[str]


class DataDetails(Checked, frozen=True):
    """One dataset's version in full."""

    revision: str
    md5: str
    size: int | None
    nfiles: int | None
    uncommitted: bool


class Items(Checked, frozen=True):
    """The answers to the task items, one row each, by DVC's hash."""

    md5: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    size: int | None


class Results(Checked, frozen=True):
    """What came out."""

    swanlab_url: str | None
    checkpoint_dir: str | None
    swanlab_status: str
    swanlab_id: str | None
    metrics: dict[str, Any]
    weights_from: str | None
    items: Items | None = None


class Failure(Checked, frozen=True):
    """Why there is no checkpoint."""

    exit_code: int | None
    signal: str | None
    error: str


class Timing(Checked, frozen=True):
    """When the training ran."""

    started_at: str
    finished_at: str
    duration_s: float


class Findings(Checked, frozen=True):
    """What may keep the experiment from being reproduced."""

    undeclared_inputs: list[str]
    changed_during_run: list[str]
    facts_left_out: int = 0
    facts_cut: int = 0
    unread_files: list[str] = field(default_factory=list)


class KnownMachine(Checked, frozen=True):
    """What every record says about the machine, if only that it is not known."""

    python_version: str | None = None
    cuda_version: str | None = None
    num_gpus: int | None = None


class Environment(Open):
    """Where it ran. The first three are always there; the training adds what it knows about its machine."""

    known = KnownMachine


class Reproduction(Checked, frozen=True):
    """Commands that run as they stand in a fresh clone."""

    code_checkout: str
    data_checkout_steps: list[str]
    checkpoint_pull: str | None
    full_command: str


class Outcome(Checked, frozen=True):
    """The answer to the question that the experiment was started with."""

    against: str
    expect: str
    changes: list[str]
    verdict: Literal["held", "not_held", "open"]
    differences: dict[str, tuple[float, float, float]]


class Lineage(Checked, frozen=True):
    """What a model without a training of its own was made from: the parent with other knowledge."""

    parent: str
    change: str
    author: str
    repeat: dict[str, str | int] | None = None


class Record(Checked, frozen=True, kw_only=True):
    """One experiment, whole."""

    experiment: Experiment
    versions: Versions
    hyperparameters: TrainConfig
    results: Results
    environment: Environment
    reproduction: Reproduction
    schema_version: Literal[1] = 1
    status: Literal["finished", "failed", "interrupted"]
    failure: Failure | None
    seed: int
    code: Code
    data: dict[str, DataDetails | None]
    changed_params: dict[str, tuple[Any, Any]]
    leftover_params: dict[str, str] = field(default_factory=dict)
    timing: Timing | None
    usage: dict[str, float | int | None] = field(default_factory=dict)
    findings: Findings
    dependencies: dict[str, str]
    outcome: Outcome | None = None
    conclusion: str | None = None
    lineage: Lineage | None = None
