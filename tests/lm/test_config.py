"""Hyperparameters: one truth for params.yaml, the command line and records."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from explicitlm.common.errors import ConfigError
from explicitlm.lm.config import TrainConfig, parse_train_config
from explicitlm.pipeline.params import parse_params
from explicitlm.vcs.yaml_file import load_yaml

ROOT = Path(__file__).parents[2]


def stage(name: str) -> dict:
    return YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][name]


def test_params_yaml_holds_every_hyperparameter_and_is_valid() -> None:
    content = load_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    parse_params(content, "params.yaml")
    assert set(content) == set(TrainConfig.__struct_fields__) | {"data", "description", "against", "expect"}


def test_train_depends_on_every_hyperparameter() -> None:
    assert set(stage("train")["params"]) == set(TrainConfig.__struct_fields__)


def test_train_declares_no_names_and_times() -> None:
    assert not [dep for dep in stage("train")["deps"] if "manifest" in dep]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"epochz": 3}, "unknown parameter 'epochz'"),
        ({"epochs": -1}, "epochs=-1: must be a whole number, at least 1"),
        ({"epochs": "ten"}, "epochs='ten'"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"epochs": 1.0}, "epochs=1.0"),
        ({"use_swanlab": 1}, "use_swanlab=1: must be true or false"),
        ({"knowledge_num": 5000}, "nearest: 4900 or 5041"),
        ({"knowledge_num": 16}, "at least 256"),
        ({"dim": 100}, "not a multiple of n_heads"),
        ({"n_heads": 6, "dim": 96, "n_kv_heads": 4}, "not a multiple of n_kv_heads"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": float("inf"), "epochs": 0}, "learning_rate=inf: must be a finite number, above 0"),
        ({"dropout": 1}, "dropout=1: must be a finite number, at least 0 and below 1"),
        ({"swanlab_project": ""}, "swanlab_project='': must be a text, not empty"),
        ({"mixed_precision": "fp8"}, "mixed_precision='fp8': must be one of bf16, no"),
    ],
)
def test_bad_values_are_named(values: dict, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_train_config(values, "params.yaml")
    assert told in caught.value.cause
    assert caught.value.hint


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_train_config({"epochs": 0, "nonsense": 1, "dropout": 2.0}, "params.yaml")
    assert all(word in caught.value.cause for word in ("epochs", "nonsense", "dropout"))


def test_scientific_notation_is_a_number() -> None:
    assert load_yaml("learning_rate: 1e-4", "params.yaml") == {"learning_rate": 1e-4}


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: [", "not valid YAML"), ("", "holds no keys"), ("- 1", "holds no keys")],
)
def test_broken_yaml_is_an_error(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_yaml(text, "params.yaml")


def test_params_reject_unknown_data_and_misread_revisions() -> None:
    content = load_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    with pytest.raises(ConfigError, match="unknown entry under data: datset"):
        parse_params({**content, "data": {"datset": "abc"}}, "params.yaml")
    with pytest.raises(ConfigError, match="not a git revision"):  # 12e45678 without quotes is a float
        parse_params({**content, "data": {"dataset": 12e45}}, "params.yaml")
    assert parse_params({**content, "data": {"dataset": 1234567}}, "params.yaml").revisions["dataset"] == "1234567"
    with pytest.raises(ConfigError, match="missing epochs"):
        parse_params({key: value for key, value in content.items() if key != "epochs"}, "params.yaml")
