"""The commands that bring an experiment back. Each runs as it stands in a fresh clone; tests run them."""

from __future__ import annotations

from explicitlm.common import layout
from explicitlm.datasets.table import DATASETS
from explicitlm.records.manifest import Manifest
from explicitlm.records.schema import Reproduction


def commands(manifest: Manifest, weights: bool) -> Reproduction:
    """Commands for an experiment.

    Args:
        manifest: what it was made of.
        weights: whether it has a checkpoint. Then its tag will exist, whose commit holds code, parameters and all
            .dvc files, uncommitted ones too; a run without one can only name the commit that it started from.
    """
    commit = manifest.id if weights else manifest.code.commit
    code = f"git checkout {commit}"
    steps = []
    for dataset in DATASETS:
        if version := manifest.data.get(dataset.param):
            held_by = version.commit or commit
            steps.append(f"git checkout {held_by} -- {dataset.pointer} && dvc pull {dataset.pointer}")
    return Reproduction(
        code_checkout=code,
        data_checkout_steps=steps,
        checkpoint_pull=f"dvc pull {layout.weights_pointer(manifest.id)}" if weights else None,
        full_command=" && ".join([code, *steps, manifest.command]),
    )
