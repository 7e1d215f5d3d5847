"""What an earlier experiment left in params.yaml is told apart from what this one asks for."""

from __future__ import annotations

import re

import pytest
from messages import messages

from explicitlm.common import layout
from explicitlm.pipeline.identity import set_by
from explicitlm.pipeline.param_changes import from_head
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.vcs.workspace import Workspace


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["exp", "run", "-S", "seed=7", "--set-param", "data.dataset=x=y", "-n", "a"], {"seed", "data.dataset"}),
        (["exp", "run", "-Sseed=7", "--set-param=dim=64", "-S", "params.yaml:epochs=2"], {"seed", "dim", "epochs"}),
        (["exp", "run", "-S", "+new=1", "-S", "description=\"-S no=1\""], {"new", "description"}),
        (["exp", "run", "-n", "a"], set()),
    ],
)  # fmt: skip
def test_every_form_of_the_option(words: list[str], keys: set[str]) -> None:
    assert set_by(words) == keys


@pytest.mark.hint("{}='...' dvc exp run ... gives this experiment its own")
@pytest.mark.slow
def test_leftovers_are_told_dropped_and_recorded(project) -> None:
    def manifest() -> Manifest:
        return load_sealed(project.root / layout.MANIFEST, Manifest, "")

    project.dvc("exp", "run", "-n", "a", "-S", "seed=7", "-S", 'description="of a, 中"', "sync_data")
    assert manifest().leftover_params == {} and manifest().asked_params == ["description", "seed"]
    project.set_params(epochs=4)  # by hand
    done = project.dvc("exp", "run", "-n", "b", "-S", "learning_rate=1e-2", "sync_data")
    assert manifest().leftover_params == {"seed": "a"}
    assert manifest().hyperparameters.seed == 7
    assert (
        "LEFT OVER" in done.stdout
        and "seed=7 (from a)" in done.stdout
        and "learning_rate: 0.01 (asked for" in done.stdout
    )
    assert "epochs: 4 (changed in params.yaml" in done.stdout

    workspace = Workspace(project.root, project.root)
    assert manifest().description == "" and "belongs to a" in done.stdout
    project.shell("EXPLICITLM_MESSAGE=唐诗，7% dvc exp run -n d -S learning_rate=1e-2 sync_data")
    assert manifest().description == "唐诗，7%"
    assert "belongs to a" in project.dvc("exp", "run", "-n", "e", "-S", "learning_rate=1e-2", "sync_data").stdout
    assert manifest().description == ""
    with messages() as lines:
        assert from_head(workspace, {"dim": 64}) == {
            "learning_rate": 2e-3, "seed": 1337, "dim": 64
        }  # fmt: skip
    assert any("seed: 1337, as in HEAD" in line for line in lines)

    back = re.search(r"to run without them, add (.*)", done.stdout)
    assert back
    project.shell(f"dvc exp run -n c {back[1]} sync_data")
    assert manifest().leftover_params == {"learning_rate": "e"} and manifest().hyperparameters.seed == 1337
    assert manifest().description == "" and manifest().hyperparameters.epochs == 4, "the user's own edit stays"
