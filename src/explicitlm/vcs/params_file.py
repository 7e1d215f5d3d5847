"""Changes values in a params.yaml and leaves its comments and order as they are, as `dvc exp run -S` does."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from explicitlm.files import write_text


def change(path: Path, values: Mapping[str, Any]) -> None:
    """Sets values.

    Args:
        path: the file. values: by key; `data.dataset` is the key `dataset` under `data`. All keys are known.
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
