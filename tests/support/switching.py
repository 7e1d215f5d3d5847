"""What sync_data does with a project's data, in steps that a test can look at."""

from __future__ import annotations

from messages import messages
from sandbox import Sandbox

from explicitlm.datasets.resolve import DatasetPlan, resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.records.manifest import DataVersion
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

CURRENT = {dataset.param: "" for dataset in DATASETS}


def workspace(box: Sandbox) -> Workspace:
    return Workspace(box.root, box.root)


def sync(box: Sandbox, pins: dict[str, str] | None = None, **revisions: str) -> list[str]:
    """What sync_data does with the data; gives its lines."""
    plans = resolve(workspace(box), {**CURRENT, **revisions}, pins)
    with messages() as lines:
        bring(workspace(box), plans, check_untouched(workspace(box), plans))
    return lines


def versions(box: Sandbox, **revisions: str) -> dict[str, DatasetPlan]:
    return {item.dataset.folder: item for item in resolve(workspace(box), {**CURRENT, **revisions})}


def target(box: Sandbox, revision: str) -> Pointer:
    """The training data of a revision."""
    found = versions(box, dataset=revision)["database"].target
    assert found is not None
    return found


def used(box: Sandbox, **revisions: str) -> DataVersion:
    """What an experiment would record of the training data."""
    found = versions(box, **revisions)["database"].version
    assert found is not None
    return found


def documents(box: Sandbox, folder: str = "database") -> int:
    return len((box.root / f"data/{folder}/text.jsonl").read_text().splitlines())


def older(box: Sandbox) -> str:
    return box.git("rev-parse", "HEAD~1")


def add_data(box: Sandbox, text: str = '{"text": "mine"}\n') -> None:
    """The user's own new version: edited and `dvc add`ed."""
    path = box.root / "data/database/text.jsonl"
    path.unlink()  # DVC's links are read-only
    path.write_text(text)
    box.dvc("add", "-q", "data/database")
