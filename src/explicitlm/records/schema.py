"""The record of an experiment: versions, parameters, results, and the commands that reproduce it.

Every field is explained in experiments/records/README.md; a test keeps the two in step.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from explicitlm.lm.config import TrainConfig


class Part(BaseModel):
    """A frozen part of a record; the order of its fields is the order in the JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Experiment(Part):
    """What was run, when and how."""

    id: str
    description: str
    timestamp: str
    script: str
    command: str


class DataCommits(BaseModel):
    """The commit of each dataset's version, by `Dataset.record_key`; a dataset that is added later has its own key."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str | None] = Field(init=False)

    dataset_commit: str | None
    val_dataset_commit: str | None
    embedding_commit: str | None
    database_init_commit: str | None
    cache_commit: str | None

    @model_validator(mode="after")
    def _only_commits(self) -> DataCommits:
        wrong = [name for name in self.__pydantic_extra__ if not name.endswith("_commit")]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not the commit of a dataset")
        return self


class Versions(Part):
    """Code, data and weights by their versions."""

    code_commit: str
    code_commit_short: str
    data: DataCommits
    checkpoint_dvc: str | None
    checkpoint_hash: str | None
    checkpoint_hash_short: str | None
    experiment_commit: str | None
    experiment_tag: str | None


class Code(Part):
    """How the code differed from `versions.code_commit`."""

    dirty: bool
    changed: list[str]
    diff_sha256: str | None
    untracked: list[str]


class DataDetails(Part):
    """One dataset's version in full."""

    revision: str
    md5: str
    size: int | None
    nfiles: int | None
    uncommitted: bool


class Items(Part):
    """The answers to the task items, one row each, by DVC's hash."""

    md5: str = Field(pattern="^[0-9a-f]{32}$")
    size: int | None


class Results(Part):
    """What came out."""

    swanlab_url: str | None
    checkpoint_dir: str | None
    swanlab_status: str
    swanlab_id: str | None
    metrics: dict[str, Any]
    weights_from: str | None
    items: Items | None = None


class Failure(Part):
    """Why there is no checkpoint."""

    exit_code: int | None
    signal: str | None
    error: str


class Timing(Part):
    """When the training ran."""

    started_at: str
    finished_at: str
    duration_s: float


class Findings(Part):
    """What may keep the experiment from being reproduced."""

    undeclared_inputs: list[str]
    changed_during_run: list[str]
    facts_left_out: int = 0
    facts_cut: int = 0
    unread_files: list[str] = []


class Environment(BaseModel):
    """Where it ran. The first three are always there; the training adds what it knows about its machine."""

    model_config = ConfigDict(frozen=True, extra="allow")

    python_version: str | None = None
    cuda_version: str | None = None
    num_gpus: int | None = None


class Reproduction(Part):
    """Commands that run as they stand in a fresh clone."""

    code_checkout: str
    data_checkout_steps: list[str]
    checkpoint_pull: str | None
    full_command: str


class Outcome(Part):
    """The answer to the question that the experiment was started with."""

    against: str
    expect: str
    changes: list[str]
    verdict: Literal["held", "not_held", "open"]
    differences: dict[str, tuple[float, float, float]]


class Lineage(Part):
    """What a model without a training of its own was made from: the parent with other knowledge."""

    parent: str
    change: str
    author: str
    repeat: dict[str, str | int] | None = None


class Record(Part):
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
    leftover_params: dict[str, str] = {}
    timing: Timing | None
    usage: dict[str, float | int | None] = {}
    findings: Findings
    dependencies: dict[str, str]
    outcome: Outcome | None = None
    conclusion: str | None = None
    lineage: Lineage | None = None
