"""`explicitlm sample-data`: the sample's versions into DVC's cache, and the current one into data/.

The repository's history holds data/*.dvc of each version; the generator must meet their hashes. The versions are added
through a data store, so that neither the user's .dvc files nor data of his own are touched.
"""

from __future__ import annotations

import logging
import shutil

from explicitlm.datasets import sample
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.empty_outs import empty_outs
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def make(workspace: Workspace) -> dict[int, dict[str, Pointer]]:
    """Generates every version, then checks out what the .dvc files under data/ name.

    Returns:
        the pointers by version and folder.

    Raises:
        DataError: data/ holds data without a version, or names one that is neither the sample nor on the remote.
    """
    made: dict[int, dict[str, Pointer]] = {}
    with workspace.open_store() as data_store:
        empty_outs(data_store)  # so that `dvc push` has them too
        for version in sample.VERSIONS:
            folder = data_store.folder / f"v{version}"
            sample.write(version, folder)
            made[version] = {}
            for part in sorted(path.name for path in folder.iterdir()):
                target = data_store.folder / part
                shutil.move(folder / part, target)
                made[version][part] = data_store.add(target)
                shutil.rmtree(target)
            logger.info(
                f"sample v{version}: "
                + ", ".join(f"{part} {pointer.md5[:8]}" for part, pointer in made[version].items())
            )
    if any((workspace.main / dataset.pointer).exists() for dataset in DATASETS):
        plans = resolve(workspace, {dataset.param: "" for dataset in DATASETS})
        bring(workspace, plans, check_untouched(workspace, plans))
    return made
