"""What the stages hand on: the manifest, sealed before training, and the result, written after it.

    sync_data --manifest--> train --result--> record

Both are JSON files under experiments/run/ and part of the experiment's commit. They are read with the same strictness
as they are written: a half-written or edited file is an error, never a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import field

from explicitlm.common.errors import UsageError
from explicitlm.common.files import read_json, write_json
from explicitlm.common.ids import RULE, is_id
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import Checked, checked, decode, dump

Status = Literal["finished", "failed", "interrupted"]


def check_id(name: str) -> None:
    """Refuses a forged id: it names files and tags and must not lead elsewhere.

    Raises:
        ValueError: no experiment can have it.
    """
    if not is_id(name):
        raise ValueError(f"{name!r}: no experiment can be called so: {RULE}")


class CodeVersion(Checked, frozen=True):
    """The code a run started from.

    Attributes:
        commit: HEAD when the run was prepared.
        dirty: whether tracked code differed from it.
        changed: the code files that differed, and new ones that train declares: the experiment's commit holds them.
        diff_sha256: digest of what differed in tracked files, None where nothing did.
        untracked: other code files that git did not know: no commit holds them.
        files: sha256 of every file that train declares as code, by path.
    """

    commit: str
    dirty: bool
    changed: list[str]
    diff_sha256: str | None
    untracked: list[str]
    files: dict[str, str]


class DataVersion(Checked, frozen=True):
    """The version of one dataset.

    Attributes:
        revision: what params.yaml asked for; "" is the current one.
        commit: the commit that gave data/X.dvc this content; None while git does not hold it.
        md5: DVC's content hash.
        size: bytes. nfiles: files.
        uncommitted: whether the version stands in no commit but the experiment's own.
    """

    revision: str
    commit: str | None
    md5: str
    size: int | None
    nfiles: int | None
    uncommitted: bool


class Question(Checked, frozen=True):
    """What an experiment is compared with and what its user expects, settled before it trains.

    Attributes:
        against: the baseline's id. expect: a condition on the differences to it; "" for none.
        baseline: the baseline's final metrics, as its record held them.
        changes: what is not as in the baseline, in words.
    """

    against: str
    expect: str
    baseline: dict[str, Any]
    changes: list[str]


class Manifest(Checked, frozen=True, kw_only=True):
    """Everything an experiment is made of, sealed by sync_data before it trains.

    Attributes:
        id: the experiment. created_at: UTC, ISO 8601. started_by: the command, as the user typed it.
        data: by `Dataset.param`; None for an optional dataset that is not there. One that was added
            to the project after the manifest was sealed has no key.
        unread_files: files of the datasets that no training reads, such as those of an unknown kind.
        changed_params: parameters that differ from HEAD's params.yaml, as [HEAD's, ours].
        asked_params: those that the command itself set. leftover_params: those that nobody asked for this time: an
            earlier experiment, named here, left them in params.yaml.
        resumed: whether the run continues an interrupted one.
        question: what it is compared with, if with anything.
    """

    schema_version: Literal[1] = 1
    id: str
    description: str
    created_at: str
    started_by: str
    command: str
    code: CodeVersion
    data: dict[str, DataVersion | None]
    unread_files: list[str] = field(default_factory=list)
    hyperparameters: TrainConfig
    changed_params: dict[str, tuple[Any, Any]]
    asked_params: list[str] = field(default_factory=list)
    leftover_params: dict[str, str] = field(default_factory=dict)
    resumed: bool = False
    question: Question | None = None

    def __post_init__(self) -> None:
        check_id(self.id)

    @property
    def asked_question(self) -> dict[str, str]:
        """The question as the parameters that asked it; empty texts without one."""
        asked = self.question
        return {"against": asked.against if asked else "", "expect": asked.expect if asked else ""}


class Result(Checked, frozen=True, kw_only=True):
    """What came out of a training, written on the machine where it ran.

    Attributes:
        experiment: whose training it was; a skipped training keeps the name of the run that made the weights.
        exit_code: of the training process, None if it never ended by itself.
        signal: name of the signal that ended it.
        error: the cause and the last lines of the log, when it failed.
        changed_during_run: code files whose content was another at the end than when they were sealed.
        inputs: project files that the training read or imported. undeclared: those that train does not declare.
        facts_left_out: facts for which the memory bank had no row. facts_cut: those longer than a row.
    """

    schema_version: Literal[1] = 1
    experiment: str
    status: Status
    exit_code: int | None
    signal: str | None
    error: str | None
    started_at: str
    finished_at: str
    duration_s: float
    command: str
    seed: int
    metrics: dict[str, Any]
    environment: dict[str, Any]
    tracker: dict[str, Any]
    changed_during_run: list[str]
    inputs: list[str]
    undeclared: list[str]
    usage: dict[str, float | int | None] = field(default_factory=dict)
    facts_left_out: int = 0
    facts_cut: int = 0

    def __post_init__(self) -> None:
        check_id(self.experiment)


Sealed = TypeVar("Sealed", bound=Checked)


def save_sealed(path: Path, value: Checked) -> None:
    """Writes a handed-on file atomically."""
    write_json(path, dump(checked(value)))


def load_sealed(path: Path, kind: type[Sealed], hint: str) -> Sealed:
    """Reads a handed-on file.

    Raises:
        UsageError: it is missing, or not what `kind` says.
    """
    values = read_json(path, hint)
    try:
        return decode(path.read_bytes(), kind)
    except ValueError as error:
        version = values.get("schema_version")
        raise UsageError(f"{path} is not a valid {kind.__name__.lower()} (schema {version}): {error}", hint) from None
