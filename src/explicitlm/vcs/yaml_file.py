"""YAML files of the project: read as YAML 1.2, changed without losing comments or order."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from explicitlm.common import layout
from explicitlm.common.errors import ConfigError
from explicitlm.common.files import write_text


def load_yaml(text: str, source: str) -> dict[str, Any]:
    """YAML 1.2 (in which 1e-4 is a number, unlike in PyYAML's 1.1).

    Raises:
        ConfigError: the text is not a YAML mapping.
    """
    try:
        value = YAML(typ="safe").load(text)  # by ruamel.yaml.clib, 4 times as fast as pure Python
    except YAMLError as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{source} is not valid YAML ({first})", _repair_hint(source)) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{source} holds no keys", _repair_hint(source))
    return value


def _repair_hint(source: str) -> str:
    """What helps: a file that people edit can be put aside; a value or a file in a commit cannot."""
    if source in (layout.PARAMS, layout.PIPELINE):
        return f"correct {source}, or put your changes aside: git stash push -- {source}"
    return f"correct {source}"


def change_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Sets values in a file and leaves its comments and order as they are, as `dvc exp run -S` does.

    Args:
        path: the file.
        values: by key; `data.dataset` is the key `dataset` under `data`. All keys are known.
    """
    yaml = YAML()
    yaml.width = 2**16
    content = yaml.load(path)
    for key, value in values.items():
        head, _, tail = key.partition(".")
        if tail:
            content[head][tail] = value
        else:
            content[head] = value
    out = io.StringIO()
    yaml.dump(content, out)
    write_text(path, out.getvalue())
