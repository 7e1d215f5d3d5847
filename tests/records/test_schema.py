"""The record's form: the fields that readers rely on are there, every field is explained, nothing else gets in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from msgspec import Struct
from msgspec.structs import fields as fields_of

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import to_json
from explicitlm.lm.typed import Open, convert, dump
from explicitlm.records import store
from explicitlm.records.schema import DataCommits, Record

ROOT = Path(__file__).parents[2]


def fields(model: type[Struct], parent: str = "") -> set[str]:
    """Paths of a model's fields and of those inside them, such as `versions.data.dataset_commit`; * is any key."""
    paths = set()
    for field in fields_of(model):
        paths.add(path := parent + field.name)
        if path == "hyperparameters":
            continue  # they are explained by --help
        paths |= _inner(field.type, path)
    return paths


def _inner(annotation: Any, path: str) -> set[str]:
    """Paths inside a field of this type, which may be a model, a container of models, or optional."""
    if isinstance(annotation, type) and issubclass(annotation, Struct | Open):
        return fields(annotation.known if issubclass(annotation, Open) else annotation, f"{path}.")
    more = f"{path}.*" if get_origin(annotation) is dict else path
    return {inner for part in get_args(annotation) for inner in _inner(part, more)}


def explained(text: str) -> set[str]:
    """The paths that the table of a README explains: `a.b`, `c` in one cell are a.b and a.c."""
    paths = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if bold := re.fullmatch(r"\*\*(\w+)\*\*", cells[0]):
            paths.add(bold[1])
            paths |= {f"{bold[1]}.{name}" for name in re.findall(r"`(\w+)`", cells[1])}
        elif names := re.findall(r"`([\w.*]+)`", cells[0]) if line.startswith("|") else []:
            parent = names[0].rpartition(".")[0]
            paths |= {name if "." in name else f"{parent}.{name}" for name in names}
    return paths


def test_every_field_is_explained_by_its_own_path() -> None:
    text = (ROOT / "experiments/records/README.md").read_text(encoding="utf-8")
    assert sorted(fields(Record) - explained(text)) == []


def test_a_field_is_not_explained_by_another_one_whose_name_holds_its_own() -> None:
    assert explained("| `code.dirty_files`, `data` | x | y |") == {"code.dirty_files", "code.data"}


def test_what_readers_of_records_rely_on_is_there() -> None:
    names = """experiment.id experiment.description experiment.timestamp experiment.script experiment.command
        versions.code_commit versions.code_commit_short versions.data.dataset_commit versions.data.val_dataset_commit
        versions.data.embedding_commit versions.data.database_init_commit versions.data.cache_commit
        versions.checkpoint_dvc versions.checkpoint_hash versions.checkpoint_hash_short hyperparameters
        results.swanlab_url results.checkpoint_dir environment.python_version environment.cuda_version
        environment.num_gpus reproduction.code_checkout reproduction.data_checkout_steps
        reproduction.checkpoint_pull reproduction.full_command"""
    assert set(names.split()) <= fields(Record)


def test_a_dataset_that_was_added_has_its_own_commit() -> None:
    names = {f"{name}_commit": None for name in ("dataset", "val_dataset", "embedding", "database_init", "cache")}
    more = convert({"glossary_commit": "d2de793a", **names}, DataCommits)
    assert list(more.items()) == [*names.items(), ("glossary_commit", "d2de793a")]
    for wrong in ({"surprise": "x"}, {"glossary_commit": 1}):
        with pytest.raises(ValueError, match=r"^(not the commit|.*expected `str \| null`)"):
            convert(names | wrong, DataCommits)


@pytest.mark.parametrize("text", ["", "{}", '{"experiment": {"id": "x"}}', "[]"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid record"):
        store.parse(text, "experiments/records/x.json", "x")


def test_an_edited_record_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / layout.RECORDS
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"experiment": {"id": "x"}, "surprise": 1}))
    with pytest.raises(UsageError) as caught:
        store.load(tmp_path, "x")
    assert "mv experiments/records/x.json experiments/records/x.json.aside" in caught.value.hint
    with pytest.raises(UsageError, match="y has no record"):
        store.load(tmp_path, "y")


def test_a_record_of_the_first_version_is_still_read() -> None:
    """A real one, as it was written then; what was added since has its default."""
    text = (Path(__file__).parent / "data/record_v1.json").read_text(encoding="utf-8")
    record = store.parse(text, "record_v1.json", json.loads(text)["experiment"]["id"])
    assert record.schema_version == 1 and record.versions.checkpoint_hash == "a07dc6749fa2011724343a54e8f1cc69.dir"
    assert store.parse(to_json(dump(record)), "again", record.experiment.id) == record
