"""Makes the tokens of an experiment before its training asks for a GPU, once for all trees of a checkout."""

from __future__ import annotations

from explicitlm.common import layout
from explicitlm.datasets.resolve import DatasetPlan
from explicitlm.datasets.table import TEXT
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.prepare import link_files, prepare
from explicitlm.lm.training.run_paths import RunPaths
from explicitlm.vcs.workspace import Workspace


def prepare_tokens(workspace: Workspace, config: TrainConfig, plans: list[DatasetPlan]) -> None:
    """Finds or makes tokenizer and tokens in the main checkout's store, and links them into the stage's tree.

    A text whose version (DVC's hash) was seen before is not even read.

    Raises:
        DataError: the text or the validation data is missing or broken.
    """
    version = next((item.target.md5 for item in plans if item.dataset == TEXT and item.target), "")
    sources = RunPaths.of({}, resume=False).sources
    store = workspace.main / layout.LOCAL
    prepared = prepare(config, sources, store, workspace.workdir / layout.TEXT_NOTE, version)
    if workspace.isolated:
        link_files(prepared.files, store, workspace.workdir / layout.LOCAL)
