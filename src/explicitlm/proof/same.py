"""`explicitlm same`: whether the working tree trains as another revision does: both train for some steps."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import DataError, TrainingError
from explicitlm.datasets.table import DATASETS
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.observation import OBSERVATION
from explicitlm.lm.typed import dump
from explicitlm.pipeline.command import arguments_of
from explicitlm.pipeline.params import read_params
from explicitlm.proof import curves
from explicitlm.proof import tree as trees
from explicitlm.records import chain, equivalence
from explicitlm.vcs.cache import folder_hash
from explicitlm.vcs.git_reading import revision_error
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import load_yaml

logger = logging.getLogger(__name__)
CODE = "src/explicitlm/lm"
NOT_TRAIN = ("data", "description", "against", "expect")  # keys of params.yaml that are no hyperparameters


@dataclass(frozen=True)
class Sameness:
    """What came of it.

    Attributes:
        revision: the commit compared with.
        parameters: those that params.yaml gives otherwise, as (there, here); they count as much as code.
        code: hashes of lm/ there and here. equivalence: the file that notes their equality.
    """

    revision: str
    comparison: chain.Comparison
    parameters: dict[str, tuple[Any, Any]]
    code: tuple[str, str]
    equivalence: str | None

    @property
    def identical(self) -> bool:
        """Whether no link of the chain and no metric differs."""
        return self.comparison.first_divergent is None


def same(workspace: Workspace, revision: str, steps: int) -> Sameness:
    """Trains both for `steps` optimizer steps on the current data, each with the parameters of its params.yaml.

    Raises:
        UsageError: unknown revision. DataError: the data is not here. TrainingError: one of the trainings failed.
    """
    commit = workspace.git.resolve(revision)
    if commit is None:
        raise revision_error(layout.TRAINING_SCRIPT, revision, workspace.git)
    read_params(workspace)  # tells a mistake in words
    chains, code, params, numbers = [], [], [], []
    for name, at in ((revision, commit), ("the working tree", None)):
        logger.info(f"training {name} for {steps} steps")
        with trees.isolated(workspace, "same", at) as tree:
            params.append(_parameters(tree))
            command = _training_args(workspace, params[-1], steps)
            run = trees.train(tree, command, workspace.main / layout.PROOFS / f"same-{'there' if at else 'here'}.log")
            if run.outcome.exit_code:
                last_line = next((line for line in reversed(run.outcome.tail) if line.strip()), "it said nothing")
                raise TrainingError(f"{name} does not train here for a comparison: {last_line}", f"cat {run.log}")
            chains.append(run.digests)
            numbers.append(curves.read(tree.workdir))
            code.append(folder_hash(tree.workdir / CODE))
    comparison = chain.compare(*chains)
    if comparison.first_divergent is None and (otherwise := curves.differing(*numbers)):
        comparison = replace(comparison, first_divergent=otherwise[0][0], parts=["metrics"])
    noted = None
    if comparison.first_divergent is None and code[0] != code[1]:
        noted = equivalence.note(workspace.main, code[0], code[1], comparison.steps)
    return Sameness(commit, comparison, _otherwise(*params), (code[0], code[1]), noted)


def _otherwise(there: dict[str, Any], here: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Parameters by name, there and here; one that older code does not have yet is at its default."""
    defaults = dump(TrainConfig())
    keys = sorted((there.keys() | here.keys()) - OBSERVATION)
    pairs = {key: (there.get(key, defaults.get(key)), here.get(key, defaults.get(key))) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _parameters(tree: Workspace) -> dict[str, Any]:
    """The hyperparameters of a tree, by whatever names its own code has for them."""
    content = load_yaml((tree.workdir / layout.PARAMS).read_text(encoding="utf-8"), layout.PARAMS)
    return {key: value for key, value in content.items() if not isinstance(value, dict | list) and key not in NOT_TRAIN}


def _training_args(workspace: Workspace, params: dict[str, Any], steps: int) -> list[str]:
    """The command for a tree's parameters on the data of the working tree.

    Each step has a link of the chain and a row of the curves; the evaluation, which changes no weight, ends it.
    """
    args = arguments_of(params | {"digest_interval": 1, "log_interval": 1, "eval_interval": steps})
    for dataset in DATASETS:
        path = workspace.workdir / dataset.path
        if path.exists():
            args += [f"--{trees.OPTIONS[dataset.param]}", str(path)]
        elif dataset.required:
            raise DataError(f"{dataset.path} is not here", f"dvc pull {dataset.pointer}")
    return [*args, "--stop_after", str(steps)]
