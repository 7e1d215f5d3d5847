"""The generated documents say what the code does now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]


def test_the_reference_and_the_schemas_are_those_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts/reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.documents().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: python scripts/reference.py"


def test_params_yaml_names_its_schema_and_has_its_keys() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "yaml-language-server: $schema=docs/schemas/params.schema.json" in text
    schema = json.loads((ROOT / "docs/schemas/params.schema.json").read_text(encoding="utf-8"))
    content = YAML(typ="safe").load(text)
    assert set(content) == set(schema["properties"])
    assert set(content["data"]) == set(schema["properties"]["data"]["properties"])
    assert set(schema["required"]) <= set(content)
