"""The record's form: the fields that readers rely on are there, every field is explained, nothing else gets in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.records import store
from explicitlm.records.schema import Record

ROOT = Path(__file__).parents[2]


def fields(model: type[BaseModel]) -> set[str]:
    """Names of a model's fields and of those inside them."""
    names = set()
    for name, field in model.model_fields.items():
        names.add(name)
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel) and inner.__name__ != "TrainConfig":
                names |= fields(inner)
    return names


def test_every_field_is_explained() -> None:
    text = (ROOT / "experiments/records/README.md").read_text(encoding="utf-8")
    missing = [name for name in sorted(fields(Record)) if name not in text]
    assert missing == []


def test_the_guides_fields_are_all_there() -> None:
    guide = """id description timestamp script command code_commit code_commit_short data dataset_commit
        val_dataset_commit embedding_commit database_init_commit cache_commit checkpoint_dvc checkpoint_hash
        checkpoint_hash_short hyperparameters swanlab_url checkpoint_dir python_version cuda_version num_gpus
        code_checkout data_checkout_steps checkpoint_pull full_command"""
    assert set(guide.split()) <= fields(Record)


@pytest.mark.parametrize("text", ["", "{}", '{"experiment": {"id": "x"}}', "[]"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid record"):
        store.parse(text, "experiments/records/x.json")


def test_an_edited_record_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / layout.RECORDS
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"experiment": {"id": "x"}, "surprise": 1}))
    with pytest.raises(UsageError) as caught:
        store.load(tmp_path, "x")
    assert caught.value.hint == "git checkout -- experiments/records/x.json"
    with pytest.raises(UsageError, match="y has no record"):
        store.load(tmp_path, "y")
