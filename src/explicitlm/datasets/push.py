"""`explicitlm data push`: a dataset's current version to the remote, and the certainty that it is all there.

`dvc push` believes that a remote which has a folder's list has its files too; one that lost a file keeps saying
"up to date" (measured with DVC 3). Here each object is asked for.
"""

from __future__ import annotations

import logging

from explicitlm.datasets.table import by_name
from explicitlm.vcs.empty_outs import empty_outs
from explicitlm.vcs.pointer import parse_pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def push(workspace: Workspace, name: str) -> None:
    """Sends the version that a dataset's .dvc file names.

    Raises:
        UsageError: there is no such dataset. DataError: it has no version. StorageError: the remote cannot take it.
    """
    dataset = by_name(name)
    path = workspace.main / dataset.pointer
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    pointer = parse_pointer(text, dataset.pointer, dataset.folder)
    with workspace.open_store() as data_store:
        data_store.push({dataset.path: pointer, **empty_outs(data_store)})
        logger.info(f"data: remote {data_store.remote.place} holds {dataset.path} ({pointer.md5[:8]})")
