"""What is found to be published, what its commit holds and says, and what is left alone."""

from __future__ import annotations

import pytest
from made_records import made, write
from msgspec.structs import replace

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.records import publish, store
from explicitlm.vcs.workspace import Workspace


@pytest.fixture
def workspace(here) -> Workspace:
    """A project in which three trainings failed, each of which left its record."""
    write(here.root, *(made(name, status="failed", description=text) for name, text in
                       (("exp_a", "first line\n\nsecond line"), ("exp_b", ""), ("exp_c", "中文"))))  # fmt: skip
    return Workspace(here.root, here.root)


def test_one_is_committed_with_all_of_its_words_and_nothing_else(here, workspace) -> None:
    (here.root / "README.md").write_text("staged for another commit\n")
    here.git("add", "README.md")
    record = publish.publish(workspace, "exp_a")
    assert record.status == "failed" and here.git("tag") == ""
    assert here.git("log", "-1", "--format=%B") == "chore: 添加实验记录 exp_a - first line\n\n\nsecond line"
    assert here.git("show", "--format=", "--name-only", "HEAD") == layout.record("exp_a")
    assert here.git("diff", "--cached", "--name-only") == "README.md"


def test_several_are_one_commit_and_again_none(here, workspace) -> None:
    before = here.git("rev-parse", "HEAD")
    publish.publish_all(workspace, ["exp_b", "exp_c", "exp_b"])
    assert here.git("rev-parse", "HEAD~1") == before
    assert here.git("log", "-1", "--format=%B").splitlines() == [
        "chore: 添加实验记录 exp_b, exp_c", "", "exp_b - failed", "exp_c - 中文",
    ]  # fmt: skip
    after = here.git("rev-parse", "HEAD")
    publish.publish_all(Workspace(here.root, here.root), ["exp_b", "exp_c"])
    assert here.git("rev-parse", "HEAD") == after


def test_nothing_is_done_for_any_if_one_is_not_there(here, workspace) -> None:
    before = here.snapshot()
    with pytest.raises(UsageError, match="there is no experiment exp_404"):
        publish.publish_all(workspace, ["exp_a", "exp_404"])
    write(here.root, made("exp_d"))  # finished, by its record alone
    with pytest.raises(UsageError, match="neither a tag nor an experiment"):
        publish.publish_all(workspace, ["exp_a", "exp_d"])
    (here.root / layout.record("exp_d")).unlink()
    assert here.snapshot() == before


def test_a_conclusion_is_committed_once_and_outlives_a_record_written_anew(here, workspace) -> None:
    publish.publish(workspace, "exp_a")
    publish.conclude(Workspace(here.root, here.root), "exp_a", "  it diverged \n")
    assert here.git("log", "-1", "--format=%s") == "chore: 记录结论 exp_a"
    after = here.git("rev-parse", "HEAD")
    publish.conclude(Workspace(here.root, here.root), "exp_a", "it diverged")
    assert here.git("rev-parse", "HEAD") == after
    store.save(here.root, replace(store.load(here.root, "exp_a"), conclusion=None))
    assert here.record("exp_a")["conclusion"] == "it diverged"
    with pytest.raises(UsageError, match="the conclusion is empty"):
        publish.conclude(workspace, "exp_a", " \n")
