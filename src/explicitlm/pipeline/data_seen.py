"""Whether data was changed while a training read it: by names, sizes, times and inodes, whatever the size of the data.

DVC hashes the data when the training has ended, and would record what lies there then as if it had been read. Small
files are told by their content as well. In a large one a change that keeps its size and sets its time back is not seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from explicitlm.common.errors import UsageError
from explicitlm.common.files import read_json
from explicitlm.datasets.scan import files
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.workspace import Workspace

SMALL, MOST_READ = 1 << 20, 64 << 20  # bytes of a file, and of a dataset: read in less than 0.1 s
DATA_SEEN = "data-seen.json"  # in the run's folder: written when the versions were verified


def data_seen(workspace: Workspace) -> dict[str, list[int]]:
    """Size, modification time (ns) and inode of every file of the datasets, by project-relative path.

    Of the small files, until so many bytes of a dataset are read, a digest of the content as well.
    """
    found: dict[str, list[int]] = {}
    for dataset in DATASETS:
        remaining = MOST_READ
        for name, seen in sorted(files(workspace.workdir / dataset.path).items()):
            path = f"{dataset.path}/{name}" if name else dataset.path
            found[path] = seen
            if seen[0] <= min(SMALL, remaining):
                remaining -= seen[0]
                found[path] = [*seen, zlib.crc32((workspace.workdir / path).read_bytes())]
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
