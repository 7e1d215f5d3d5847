"""Writes docs/reference.md and the JSON Schemas of params.yaml, records and verdicts, from the code that they describe.

    python scripts/reference.py

A test compares what it would write with what is committed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from explicitlm.cli.main import app
from explicitlm.common.files import to_json
from explicitlm.datasets.table import DATASETS
from explicitlm.lm.config import TrainConfig
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Verdict

ROOT = Path(__file__).resolve().parent.parent
HEADING = "# Reference 参考\n\nMade by `python scripts/reference.py` from the code. 由代码生成，请勿手改。\n"


def documents() -> dict[str, str]:
    """Every generated file: its text by its path in the project."""
    return {
        "docs/reference.md": "\n".join([HEADING, *_verbs(), *_params(), *_fields()]) + "\n",
        "docs/schemas/params.schema.json": to_json(_params_schema()),
        "docs/schemas/record.schema.json": to_json(_titled(Record.model_json_schema(), "A record of ExplicitLM")),
        "docs/schemas/verdict.schema.json": to_json(_titled(Verdict.model_json_schema(), "A verdict of ExplicitLM")),
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
    for name, schema in TrainConfig.model_json_schema()["properties"].items():
        limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
        allowed = ", ".join(f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema)
        allowed = allowed or ", ".join(schema.get("enum", []))
        cells = (f"`{name}`", schema["type"], repr(schema["default"]), allowed, schema["description"])
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    lines += [f"| `data.{dataset.param}` | string | '' | a git revision or an experiment's id | version of "
              f"{dataset.path} |" for dataset in DATASETS]  # fmt: skip
    return [*lines, ""]


def _fields() -> list[str]:
    lines = ["## Fields of a record 记录字段", "", "Their meaning: [experiments/records/README.md]"
             "(../experiments/records/README.md).", "", "| field | type |", "| --- | --- |"]  # fmt: skip
    return [*lines, *(f"| `{name}` | {_cell(kind)} |" for name, kind in _typed(Record, ""))]


def _typed(model: type[BaseModel], prefix: str) -> list[tuple[str, str]]:
    found = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner and inner[0] is not TrainConfig:
            star = ".*" if "dict" in str(field.annotation) else ""
            found += _typed(inner[0], f"{prefix}{name}{star}.")
        else:
            alone = len(kinds) == 1 and field.annotation is not None
            kind = field.annotation.__name__ if alone else str(field.annotation)
            found.append((prefix + name, re.sub(r"typing\.|explicitlm\.[a-z_.]+\.|<class '|'>", "", kind)))
    return found


def _params_schema() -> dict[str, Any]:
    schema = TrainConfig.model_json_schema()
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
    required = sorted([*TrainConfig.model_fields, "data"])
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
