"""`explicitlm same`: whether the working tree trains as another revision does: both train for some steps."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from explicitlm.common import layout
from explicitlm.common.errors import DataError, TrainingError
from explicitlm.datasets.table import DATASETS
from explicitlm.pipeline.command import arguments_of
from explicitlm.pipeline.params import read_params
from explicitlm.proof import tree as trees
from explicitlm.records import chain, equivalence
from explicitlm.vcs.cache import folder_hash
from explicitlm.vcs.git import revision_error
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import load_yaml

logger = logging.getLogger(__name__)
CODE = "src/explicitlm/lm"
NOT_TRAIN = ("data", "description", "against", "expect")  # keys of params.yaml that are no hyperparameters


@dataclass(frozen=True)
class Sameness:
    """revision: the commit compared with. code: hashes of lm/ there and here. equivalence: the file that notes it."""

    revision: str
    comparison: chain.Comparison
    code: tuple[str, str]
    equivalence: str | None

    @property
    def identical(self) -> bool:
        """Whether no link differs."""
        return self.comparison.first_divergent is None


def same(workspace: Workspace, revision: str, steps: int) -> Sameness:
    """Trains both for `steps` optimizer steps on the current data with the current parameters.

    Raises:
        UsageError: unknown revision. DataError: the data is not here. TrainingError: one of the trainings failed.
    """
    commit = workspace.git.resolve(revision)
    if commit is None:
        raise revision_error(layout.TRAINING_SCRIPT, revision, workspace.git)
    chains, code = [], []
    for name, at in ((revision, commit), ("the working tree", None)):
        logger.info(f"training {name} for {steps} steps")
        with trees.isolated(workspace, "same", at) as tree:
            words = _words(workspace, tree, steps)
            run = trees.train(tree, words, workspace.main / layout.PROOFS / f"same-{'there' if at else 'here'}.log")
            if run.outcome.exit_code:
                said = next((line for line in reversed(run.outcome.tail) if line.strip()), "it said nothing")
                raise TrainingError(f"{name} does not train here for a comparison: {said}", f"cat {run.log}")
            chains.append(run.digests)
            code.append(folder_hash(tree.workdir / CODE))
    comparison = chain.compare(*chains)
    noted = None
    if comparison.first_divergent is None and code[0] != code[1]:
        noted = equivalence.note(workspace.main, code[0], code[1], comparison.steps)
    return Sameness(commit, comparison, (code[0], code[1]), noted)


def _words(workspace: Workspace, tree: Workspace, steps: int) -> list[str]:
    """The command: the parameters of the working tree, as far as the tree's code knows them, on its data."""
    ours = read_params(workspace).train.model_dump()
    theirs = load_yaml((tree.workdir / layout.PARAMS).read_text(encoding="utf-8"), layout.PARAMS)
    known = {
        key: ours.get(key, value)
        for key, value in theirs.items()
        if not isinstance(value, dict | list) and key not in NOT_TRAIN
    }
    words = arguments_of(known | {"digest_interval": 1})
    for dataset in DATASETS:
        path = workspace.workdir / dataset.path
        if path.exists():
            words += [f"--{trees.OPTIONS[dataset.param]}", str(path)]
        elif dataset.required:
            raise DataError(f"{dataset.path} is not here", f"dvc pull {dataset.pointer}")
    return [*words, "--stop_after", str(steps)]
