"""Where things are in a project, and what its params.yaml says.

A project has two roots that differ only in isolated runs: the *tree* in which a stage works (for
`dvc exp run --temp` and queue workers a copy under .dvc/tmp/exps) and the *main* checkout, which owns
the records, logs, tags and caches. DVC names the latter in DVC_ROOT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from explicitlm.config import TrainConfig, parse_train_config
from explicitlm.errors import ConfigError, UsageError


@dataclass(frozen=True)
class Dataset:
    """One of the five datasets, each with a version of its own.

    Attributes:
        param: its key under `data:` in params.yaml.
        folder: its folder under data/; `data/<folder>.dvc` holds its version.
        record_key: its field in a record's `versions.data`.
        required: whether training needs it.
    """

    param: str
    folder: str
    record_key: str
    required: bool

    @property
    def path(self) -> str:
        """Project-relative path of the data."""
        return f"data/{self.folder}"

    @property
    def pointer(self) -> str:
        """Project-relative path of its .dvc file."""
        return f"data/{self.folder}.dvc"


# To add a dataset: a row here, a key under `data:` in params.yaml, and an option in explicitlm.training.cli.
DATASETS = (
    Dataset("dataset", "database", "dataset_commit", required=True),
    Dataset("val_dataset", "benchmarks", "val_dataset_commit", required=True),
    Dataset("embedding", "embeddings", "embedding_commit", required=False),
    Dataset("database_init", "knowledge_base", "database_init_commit", required=False),
    Dataset("cache", "cache", "cache_commit", required=False),
)

CHECKPOINT = "checkpoints/run"  # train's own out: the weights of the run in this tree


@dataclass(frozen=True)
class Params:
    """What params.yaml says.

    Attributes:
        train: the hyperparameters.
        revisions: the revision asked for, by `Dataset.param`; "" is the current one.
        description: the user's words about the experiment.
    """

    train: TrainConfig
    revisions: dict[str, str]
    description: str


@dataclass(frozen=True)
class Project:
    """The two roots of a project and the places in them."""

    tree: Path
    main: Path

    @classmethod
    def of_stage(cls) -> Project:
        """The project of the stage that DVC is running in the current directory."""
        tree = Path.cwd()
        return cls(tree, Path(os.environ.get("DVC_ROOT", tree)).resolve())

    @classmethod
    def find(cls) -> Project:
        """The project that holds the current directory.

        Raises:
            UsageError: there is none.
        """
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
                return cls(folder, folder)
        raise UsageError(f"{here} is not inside an ExplicitLM project (no dvc.yaml and params.yaml here or above)",
                         "cd into your clone of the project")  # fmt: skip

    @property
    def isolated(self) -> bool:
        """Whether the tree is a temporary copy."""
        return self.tree.resolve() != self.main

    @property
    def manifest(self) -> Path:
        """What sync_data seals before training."""
        return self.tree / "experiments/run/manifest.json"

    @property
    def data_versions(self) -> Path:
        """Content hashes of the datasets in use: what train depends on."""
        return self.tree / "experiments/run/data.json"

    @property
    def result(self) -> Path:
        """What train leaves after training."""
        return self.tree / "experiments/run/result.json"

    def run_dir(self, experiment: str) -> Path:
        """What one run keeps on this machine only: resume states, reports, SwanLab's files."""
        return self.main / ".explicitlm/runs" / experiment

    def log(self, experiment: str) -> Path:
        """The output of one training."""
        return self.main / "logs" / f"{experiment}.log"

    def train_deps(self) -> list[str]:
        """What the train stage declares in dvc.yaml as its inputs: code, data, handed-on files."""
        stages = load_yaml((self.tree / "dvc.yaml").read_text(encoding="utf-8"), "dvc.yaml")["stages"]
        return list(stages["train"]["deps"])

    def params(self) -> Params:
        """Reads and checks params.yaml of the tree."""
        path = self.tree / "params.yaml"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist", "git checkout -- params.yaml") from None
        return parse_params(load_yaml(text, "params.yaml"), "params.yaml")


def load_yaml(text: str, source: str) -> dict[str, Any]:
    """YAML 1.2 (in which 1e-4 is a number, unlike in PyYAML's 1.1).

    Raises:
        ConfigError: the text is no YAML mapping.
    """
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"{source} is no valid YAML ({first})", f"correct {source}, or git checkout -- {source}"
        ) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{source} holds no keys", f"correct {source}, or git checkout -- {source}")
    return value


def parse_params(content: Mapping[str, Any], source: str) -> Params:
    """Checks the content of a params.yaml.

    Raises:
        ConfigError: naming each unknown, missing, ill-typed or out-of-range key.
    """
    values = dict(content)
    revisions = values.pop("data", None)
    description = values.pop("description", "")
    known = {dataset.param for dataset in DATASETS}
    if not isinstance(revisions, dict) or set(revisions) - known:
        wrong = ", ".join(sorted(set(revisions) - known)) if isinstance(revisions, dict) else repr(revisions)
        raise ConfigError(f"{source}: unknown entry under data: {wrong}", f"use only {', '.join(sorted(known))}")
    if not isinstance(description, str):
        raise ConfigError(f"{source}: description={description!r} is not a text", 'quote it: description: "..."')
    missing = sorted(set(TrainConfig.model_fields) - set(values))
    if missing:
        raise ConfigError(f"{source}: missing {', '.join(missing)}", f"git checkout -- {source}")
    return Params(
        train=parse_train_config(values, source),
        # A commit of digits only (1234567) is read as a number by YAML: it is a revision all the same.
        revisions={dataset.param: _revision(revisions.get(dataset.param), source) for dataset in DATASETS},
        description=description,
    )


def _revision(value: object, source: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{source}: {value!r} under data: is no git revision", 'quote it: dataset: "d2de793a"')
    return str(value)
