"""One finished and published experiment, shared by the tests that only look at it."""

from __future__ import annotations

import pytest

from explicitlm.pipeline.run import hydra

DESCRIPTION = 'first: "quotes", 中文，emoji 🚀\nsecond line \\ ${HOME}'


@pytest.fixture(scope="session")
def description() -> str:
    """A description with all that breaks shells, YAML and JSON."""
    return DESCRIPTION


@pytest.fixture(scope="session")
def published(fresh, tmp_path_factory: pytest.TempPathFactory):
    """exp_001, run in the workspace by DVC's own command, and published."""
    box = fresh(tmp_path_factory.mktemp("published"))
    overrides = (f"description={hydra(DESCRIPTION)}", "epochs=2", "use_swanlab=true", "swanlab_mode=offline",
                 "swanlab_workspace=team")  # fmt: skip
    box.dvc("exp", "run", "-n", "exp_001", *(word for pair in overrides for word in ("-S", pair)))
    box.explicitlm("publish", "exp_001")
    return box
