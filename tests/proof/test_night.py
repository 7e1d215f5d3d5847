"""Which experiments the night shift takes: those nobody retrained, the cheapest first, within the budget."""

from __future__ import annotations

from typing import Literal

import made_records
import pytest

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_json
from explicitlm.proof import night
from explicitlm.records.verdict import Grade, Verdict, load_verdicts, save_verdict
from explicitlm.vcs.workspace import Workspace


def judged(experiment: str, how: Literal["restored", "retrained"], grade: Grade = "identical") -> Verdict:
    return Verdict(experiment=experiment, checked_at="2026-01-02T00:00:00Z", duration_s=1, how=how, verdict=grade)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """Six of 10 to 60 s: exp_10 has been retrained, exp_20 only restored, exp_30 failed, exp_60 tells no change."""
    for cost in (50, 10, 40, 20, 30, 60):
        record = made_records.made(f"exp_{cost}", status="failed" if cost == 30 else "finished")
        if cost == 60:
            record["lineage"] = {"parent": "exp_50", "change": "row 7 says something else", "author": "Ada"}
        record["timing"] = {"started_at": "", "finished_at": "", "duration_s": cost}
        write_json(tmp_path / layout.RECORDS / f"exp_{cost}.json", record)
    save_verdict(tmp_path, judged("exp_10", "retrained"))
    save_verdict(tmp_path, judged("exp_20", "restored"))
    return Workspace(tmp_path, tmp_path)


def test_the_cheapest_that_nobody_retrained_comes_first(workspace) -> None:
    assert [each.experiment.id for each in night.unverified(workspace)] == ["exp_20", "exp_40", "exp_50"]


def test_a_broken_record_stops_no_night(workspace, logged) -> None:
    (workspace.main / layout.RECORDS / "exp_20.json").write_text('{"experiment"')
    assert [each.experiment.id for each in night.unverified(workspace)] == ["exp_40", "exp_50"]
    assert "exp_20.json is not a valid record" in "".join(logged)


def test_a_budget_below_the_cheapest_is_said(workspace) -> None:
    with pytest.raises(UsageError, match="exp_20, trained 20 s: more than the budget of 5 s"):
        night.verify_next(workspace, 5)


def test_the_badge_counts_what_was_trained_to_the_end(workspace) -> None:
    save_verdict(workspace.main, judged("exp_40", "retrained", "different"))
    assert load_verdicts(workspace.main).summary() == "1 of 2 identical, 1 differ"
