"""Writes docs/reference.md and the JSON Schemas of params.yaml, records and verdicts, from the code that they describe.

    python scripts/reference.py

A test compares what it would write with what is committed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import typer
from msgspec import Struct, json
from msgspec.structs import fields

from explicitlm.cli.main import app
from explicitlm.common.files import to_json
from explicitlm.datasets.table import DATASETS
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import Open
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Verdict

ROOT = Path(__file__).resolve().parent.parent
HEADING = "# Reference 参考\n\nMade by `python scripts/reference.py` from the code. 由代码生成，请勿手改。\n"


def documents() -> dict[str, str]:
    """Every generated file: its text by its path in the project."""
    return {
        "docs/reference.md": "\n".join([HEADING, *_verbs(), *_params(), *_fields()]) + "\n",
        "docs/schemas/params.schema.json": to_json(_params_schema()),
        "docs/schemas/record.schema.json": to_json(_titled(_schema(Record), "A record of ExplicitLM")),
        "docs/schemas/verdict.schema.json": to_json(_titled(_schema(Verdict), "A verdict of ExplicitLM")),
    }


def _verbs() -> list[str]:
    lines = ["## Commands 命令", ""]
    for words, command in sorted(_commands(typer.main.get_command(app), "explicitlm").items()):
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        usage = " ".join([words, *(argument.metavar or argument.name.upper() for argument in arguments)])
        help_text = re.sub(r"\n{2,}", "\n\n", (command.help or "").strip())
        lines += [f"### {words}", "", f"    {usage}", "", _as_markdown(help_text), ""]
        if told := [option for option in options if option.name != "help"]:
            lines += ["| option | meaning |", "| --- | --- |"]
            lines += [f"| `{', '.join([*option.opts, *option.secondary_opts])}` | {_cell(_help(option))} |"
                      for option in told]  # fmt: skip
            lines.append("")
    return lines


def _commands(command: Any, words: str) -> dict[str, Any]:
    if hasattr(command, "commands"):
        found: dict[str, Any] = {}
        for name, inner in command.commands.items():
            found |= _commands(inner, f"{words} {name}")
        return found
    return {words: command}


def _as_markdown(text: str) -> str:
    """Help text; its examples, which are indented, as code."""
    return re.sub(r"(?m)^ {2,}(?=explicitlm|git|python|dvc)", "    ", text)


def _help(option: Any) -> str:
    return str(getattr(option, "help", None) or "")


def _params() -> list[str]:
    lines = ["## Parameters of params.yaml 参数", ""]
    lines += ["| parameter | type | default in code | allowed | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, schema in _schema(TrainConfig)["properties"].items():
        limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
        allowed = ", ".join(f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema)
        allowed = allowed or ", ".join(schema.get("enum", []))
        cells = (f"`{name}`", schema.get("type", "string"), repr(schema["default"]), allowed, schema["description"])
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    lines += [f"| `data.{dataset.param}` | string | '' | a git revision or an experiment's id | version of "
              f"{dataset.path} |" for dataset in DATASETS]  # fmt: skip
    return [*lines, ""]


def _fields() -> list[str]:
    lines = ["## Fields of a record 记录字段", "", "Their meaning: [experiments/records/README.md]"
             "(../experiments/records/README.md).", "", "| field | type |", "| --- | --- |"]  # fmt: skip
    return [*lines, *(f"| `{name}` | {_cell(kind)} |" for name, kind in _typed(Record, ""))]


def _typed(model: type[Struct], prefix: str) -> list[tuple[str, str]]:
    found = []
    for field in fields(model):
        kind = field.type.__origin__ if hasattr(field.type, "__metadata__") else field.type
        kinds = [kind, *get_args(kind)]
        inner = [each for each in kinds if isinstance(each, type) and issubclass(each, Struct | Open)]
        if inner and inner[0] is not TrainConfig:
            star = ".*" if "dict" in str(kind) else ""
            known = inner[0].known if issubclass(inner[0], Open) else inner[0]
            found += _typed(known, f"{prefix}{field.name}{star}.")
        else:
            words = kind.__name__ if len(kinds) == 1 else str(kind)
            found.append((prefix + field.name, re.sub(r"typing\.|explicitlm\.[a-z_.]+\.|<class '|'>", "", words)))
    return found


def _schema(model: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of a struct; that of each struct inside it is a definition of its own."""
    _, parts = json.schema_components([model], schema_hook=_open_schema, ref_template="#/$defs/{name}")
    schema = parts.pop(model.__name__)
    return {"$defs": parts, **schema} if parts else schema


def _open_schema(kind: type[Open]) -> dict[str, Any]:
    known = _schema(kind.known) | {"title": kind.__name__, "description": kind.__doc__, "additionalProperties": True}
    return known | json.schema(kind.mapping)


def _params_schema() -> dict[str, Any]:
    schema = _schema(TrainConfig)
    text = {"type": "string"}
    revision = {"type": ["string", "integer", "null"], "description": "'' is the current version; else a git revision"}
    more = {
        "description": {**text, "description": "your words about the experiment"},
        "against": {**text, "description": "the id of its baseline"},
        "expect": {**text, "description": "a condition on the differences to the baseline"},
        "data": {
            "type": "object",
            "properties": {dataset.param: revision for dataset in DATASETS},
            "additionalProperties": False,
        },
    }
    required = sorted([*TrainConfig.__struct_fields__, "data"])
    return _titled({**schema, "properties": {**more, **schema["properties"]}, "required": required}, "params.yaml")


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Writes the files."""
    for path, text in documents().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
