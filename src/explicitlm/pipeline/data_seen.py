"""Whether data was changed while a training read it: by names, sizes, times and inodes, whatever the size of the data.

DVC hashes the data when the training has ended, and would record what lies there then as if it had been read.
"""

from __future__ import annotations

from collections.abc import Mapping

from explicitlm.common.errors import UsageError
from explicitlm.common.files import read_json
from explicitlm.datasets.scan import files
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.workspace import Workspace

DATA_SEEN = "data-seen.json"  # in the run's folder: written when the versions were verified


def data_seen(workspace: Workspace) -> dict[str, list[int]]:
    """Size, modification time (ns) and inode of every file of the datasets, by project-relative path."""
    found: dict[str, list[int]] = {}
    for dataset in DATASETS:
        listed = files(workspace.workdir / dataset.path)
        found |= {f"{dataset.path}/{name}" if name else dataset.path: seen for name, seen in listed.items()}
    return found


def sealed_data(workspace: Workspace, experiment: str) -> dict[str, list[int]]:
    """What sync_data saw; what is there now where that was another machine's."""
    now = data_seen(workspace)
    try:
        before = read_json(workspace.run_dir(experiment) / DATA_SEEN, "")
    except UsageError:
        return now
    return before


def changed_data(before: Mapping[str, list[int]], now: Mapping[str, list[int]]) -> list[str]:
    """Files that were added, removed, replaced or written to, by path."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
