"""`explicitlm same` tells harmless edits of the training code from harmful ones: every edit is trained."""

from __future__ import annotations

import json
import os
import sys

import pytest
from edits import HARMFUL, HARMLESS, PARAMS, STEPS, Edit, edit

from explicitlm.proof.same import Sameness, _otherwise, same
from explicitlm.vcs.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def box(fresh, tmp_path_factory):
    """A project whose parameters leave no part of a training out."""
    box = fresh(tmp_path_factory.mktemp("same"))
    box.set_params(**PARAMS)
    box.commit("parameters", "params.yaml")
    return box


@pytest.fixture
def compared(box, warm_commands, monkeypatch):
    """Compares HEAD with the project after an edit, and takes the edit back."""
    for name in os.environ.keys() - box.env.keys():
        monkeypatch.delenv(name)
    box.export(monkeypatch)
    monkeypatch.setattr(sys, "executable", str(warm_commands / "python"))

    def compare(edit: Edit) -> Sameness:
        edit.make(box.root)
        return same(Workspace(box.root, box.root), "HEAD", STEPS)

    yield compare
    box.git("checkout", "-q", "--", "src", "params.yaml")
    box.git("clean", "-fdq", "src")


@pytest.mark.parametrize("edit", HARMLESS, ids=lambda edit: edit.name)
def test_a_harmless_edit_is_identical_and_noted(edit: Edit, box, compared) -> None:
    found = compared(edit)
    assert found.identical and found.comparison.steps == STEPS and found.parameters == {}
    noted = json.loads((box.root / found.equivalence).read_text())
    assert noted["lm"] == sorted(found.code) and noted["steps"] == STEPS


def test_a_parameter_counts_as_much_as_code(compared) -> None:
    found = compared(edit("a parameter", "params.yaml", "grad_clip: 0.5", "grad_clip: 0.25"))
    assert not found.identical and found.parameters == {"grad_clip": (0.5, 0.25)}
    assert (found.comparison.first_divergent, found.comparison.part) == (1, "optimizer")


def test_a_parameter_that_the_other_code_does_not_have_yet_is_at_its_default() -> None:
    assert _otherwise({"dim": 64}, {"dim": 64, "attend_across_documents": True}) == {}
    changed = _otherwise({"dim": 64}, {"dim": 64, "attend_across_documents": False})
    assert changed == {"attend_across_documents": (True, False)}


@pytest.mark.parametrize("edit", HARMFUL, ids=lambda edit: edit.name)
def test_a_harmful_edit_is_found_where_it_shows_first(edit: Edit, compared) -> None:
    found = compared(edit)
    assert (found.comparison.first_divergent, found.comparison.part) == (edit.step, edit.part)
    assert not found.identical and found.equivalence is None
