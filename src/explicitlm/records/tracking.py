"""Where an experiment's SwanLab page stands now: what the training wrote about it, or an upload since.

.explicitlm/runs/<id>/tracker.json is the one place for it; results and records hold copies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from explicitlm.common import layout
from explicitlm.common.files import write_json
from explicitlm.records.schema import Record


def path_of(main: Path, experiment: str) -> Path:
    """The file in a checkout."""
    return main / layout.run_dir(experiment) / "tracker.json"


def load(main: Path, experiment: str) -> dict[str, Any]:
    """Its content; empty where the run had no tracker or was on another machine."""
    try:
        found = json.loads(path_of(main, experiment).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def save(main: Path, experiment: str, tracker: dict[str, Any]) -> None:
    """Writes it."""
    write_json(path_of(main, experiment), tracker)


def updated(main: Path, record: Record) -> Record:
    """The record with the status and URL that are known here now, if they are of the same SwanLab run."""
    now = load(main, record.experiment.id)
    results = record.results
    if results.swanlab_id is None or now.get("id") != results.swanlab_id:
        return record
    changed = replace(results, swanlab_url=now["url"], swanlab_status=now["status"])
    return replace(record, results=changed)
