"""params.yaml: every hyperparameter, the revision of each dataset, and the description of the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import ConfigError
from explicitlm.common.shown import is_text
from explicitlm.datasets.table import DATASETS
from explicitlm.lm.config import TrainConfig, parse_train_config
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import load_yaml


@dataclass(frozen=True)
class Params:
    """What params.yaml says.

    Attributes:
        train: the hyperparameters.
        revisions: the revision asked for, by `Dataset.param`; "" is the current one.
        description: the user's words about the experiment.
        against: the id of its baseline; expect: a condition on the differences to it; "" where none is given.
    """

    train: TrainConfig
    revisions: dict[str, str]
    description: str
    against: str = ""
    expect: str = ""


def read_params(workspace: Workspace) -> Params:
    """Reads and checks the params.yaml of the workdir.

    Raises:
        ConfigError: it is missing, or one of its keys is wrong.
    """
    path = workspace.workdir / layout.PARAMS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", "git checkout -- params.yaml") from None
    return parse_params(load_yaml(text, layout.PARAMS), layout.PARAMS)


def parse_params(content: Mapping[str, Any], source: str) -> Params:
    """Checks the content of a params.yaml.

    Raises:
        ConfigError: naming each unknown, missing, ill-typed or out-of-range key.
    """
    values = dict(content)
    revisions = values.pop("data", None)
    description = values.pop("description", "")
    question = {key: values.pop(key, "") for key in ("against", "expect")}
    known = {dataset.param for dataset in DATASETS}
    if not isinstance(revisions, dict) or set(revisions) - known:
        wrong = ", ".join(sorted(set(revisions) - known)) if isinstance(revisions, dict) else repr(revisions)
        raise ConfigError(f"{source}: unknown entry under data: {wrong}", f"use only {', '.join(sorted(known))}")
    if not isinstance(description, str):
        raise ConfigError(f"{source}: description={description!r} is not a text", 'quote it: description: "..."')
    for key, text in question.items():
        if not isinstance(text, str):
            raise ConfigError(f"{source}: {key}={text!r} is not a text", f'quote it: {key}: "..."')
    for key, text in {"description": description, **question}.items():
        if not is_text(text):
            raise ConfigError(f"{source}: {key}={text!r} holds characters that no file can (NUL, or half of a pair)",
                              "write it anew, in UTF-8")  # fmt: skip
    missing = sorted(set(TrainConfig.__struct_fields__) - set(values))
    if missing:
        raise ConfigError(
            f"{source}: missing {', '.join(missing)}",
            f"add them, or put your changes aside: git stash push -- {layout.PARAMS}",
        )
    return Params(
        train=parse_train_config(values, source),
        # A commit of digits only (1234567) is read as a number by YAML: it is a revision all the same.
        revisions={dataset.param: _revision(revisions.get(dataset.param), source) for dataset in DATASETS},
        description=description,
        against=question["against"].strip(),
        expect=question["expect"].strip(),
    )


def _revision(value: object, source: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or not is_text(str(value)):
        raise ConfigError(f"{source}: {value!r} under data: is not a git revision",
                          """quote it: -S 'data.dataset="12e45"', or in params.yaml: dataset: '12e45'""")  # fmt: skip
    return str(value)
