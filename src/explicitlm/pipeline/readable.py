"""Data in a form that training cannot read is found before an experiment's id is used, and each version once only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.files import sha256, write_json
from explicitlm.datasets.resolve import DatasetPlan
from explicitlm.lm.config import TrainConfig
from explicitlm.vcs.workspace import Workspace

NOTE = f"{layout.LOCAL}/readable.json"  # versions that were read without an error, with the settings that count


def check_readable(workspace: Workspace, plans: Iterable[DatasetPlan], config: TrainConfig) -> None:
    """Reads the versions that lie in the tree as training will; a version that was read before is not read again.

    Raises:
        DataError: by file and line or entry.
    """
    note = workspace.main / NOTE
    before = _read(note)
    seen = dict(before)
    for item in plans:
        folder = workspace.workdir / item.dataset.path
        if item.target is None or not folder.exists():
            continue
        shapes = (config.vocab_size, config.dim, config.knowledge_num, config.knowledge_length, config.disable_memory)
        what = sha256(json.dumps([item.target.md5, *shapes]).encode())[:16]
        if seen.get(item.dataset.path) != what:
            from explicitlm.lm.data.readable import CHECKS  # numpy and all: 0.1 s

            if check := CHECKS.get(item.dataset.path):
                check(folder, config)
            seen[item.dataset.path] = what
    if seen != before:
        with suppress(OSError):  # it only spares work
            write_json(note, seen)


def _read(note: Path) -> dict[str, str]:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}
