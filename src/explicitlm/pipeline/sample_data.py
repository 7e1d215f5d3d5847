"""`explicitlm sample-data`: the sample's versions into DVC's cache, and the current one into data/.

The repository's history holds data/*.dvc of each version; the generator must meet their hashes. The versions are added
through a courier, so that neither the user's .dvc files nor data of his own are touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from explicitlm import sample
from explicitlm.pipeline.data_versions import resolve
from explicitlm.pipeline.switch import bring, check_untouched
from explicitlm.project import DATASETS, Project
from explicitlm.vcs.courier import courier
from explicitlm.vcs.pointer import Pointer

Say = Callable[[str], None]


def make(project: Project, say: Say) -> dict[int, dict[str, Pointer]]:
    """Generates every version, then brings data/ to what its .dvc files say.

    Returns:
        the pointers by version and folder.

    Raises:
        DataError: data/ holds data without a version, or names one that is neither the sample nor on the remote.
    """
    made: dict[int, dict[str, Pointer]] = {}
    with courier(project.main) as messenger:
        for version in sample.VERSIONS:
            folder = messenger.folder / f"v{version}"
            sample.write(version, folder)
            made[version] = {}
            for part in sorted(path.name for path in folder.iterdir()):
                target = messenger.folder / part
                shutil.move(folder / part, target)
                made[version][part] = messenger.add(target)
                shutil.rmtree(target)
            say(
                f"sample v{version}: "
                + ", ".join(f"{part} {pointer.md5[:8]}" for part, pointer in made[version].items())
            )
    if any((project.main / dataset.pointer).exists() for dataset in DATASETS):
        wanted = resolve(project, {dataset.param: "" for dataset in DATASETS})
        bring(project, wanted, check_untouched(project, wanted), say)
    return made
