"""`explicitlm run`: what the user types becomes what `-S` wants."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from explicitlm.common.errors import ConfigError
from explicitlm.pipeline.run import hydra, parse_assignments

# Control characters other than tab and newline have no place in a YAML file.
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\t\n"))


@given(WORDS)
@example('say "yes"\n${HOME} \\"')
@example("学习率降低至1e-4，增加模型层数至12层 🚀")
@example("\\${x}\\")
@example("[1, 2]")
@example("null")
@example("# no comment: none")
def test_any_description_survives_dvcs_own_parser(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text("description: ''\nepochs: 1\n", encoding="utf-8")
        if text == "???":
            return
        apply_overrides(str(path), [f"description={hydra(text)}"])
        assert YAML(typ="safe").load(path)["description"] == text


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (3, "3"), (1e-4, "0.0001")])
def test_values_keep_their_type(value: object, text: str) -> None:
    assert hydra(value) == text


def test_assignments_are_read_as_yaml() -> None:
    pairs = ["epochs=10", "learning_rate=1e-4", "use_swanlab=true", "data.dataset=12e45678", "description=a=b"]
    assert parse_assignments(pairs) == {
        "epochs": 10,
        "learning_rate": 1e-4,
        "use_swanlab": True,
        "data.dataset": "12e45678",
        "description": "a=b",
    }


@pytest.mark.parametrize("word", ["epochs", "=3", "--epochs=3", "Epochs=3", "epochs=[", "a b=3"])
def test_what_is_no_assignment_is_told(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignments([word])
    assert caught.value.hint
