"""Where an experiment that trains on a cluster lies: one tree on the login node, a copy of it on the compute node.

On the login node the tree is a git worktree in .explicitlm/cluster/<id>; on a compute node without shared file system
it is the folder that `push` filled. Both look the same from inside.
"""

from __future__ import annotations

from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.errors import UsageError


def login_tree(main: Path, experiment: str) -> Path:
    """The tree on the login node, whether or not it exists."""
    return main / layout.cluster_tree(experiment)


def prepared_tree(main: Path, experiment: str) -> Path:
    """The tree on the login node.

    Raises:
        UsageError: the experiment was not prepared here.
    """
    tree = login_tree(main, experiment)
    if not (tree / layout.SENT).is_file():
        raise UsageError(f"{experiment} is not prepared for the cluster here", f"explicitlm cluster pre {experiment}")
    return tree


def training_tree(experiment: str) -> Path:
    """The tree to train in, seen from the current directory: itself, the project above it, or the folder pushed to.

    Raises:
        UsageError: none of them holds the experiment.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        for tree in (login_tree(folder, experiment), folder / experiment, folder):
            if tree.name == experiment and (tree / layout.SENT).is_file():
                return tree
    raise UsageError(f"{experiment} is not here ({here})",
                     f"on the login node: explicitlm cluster push {experiment} HOST:DIR; here: cd DIR")  # fmt: skip
