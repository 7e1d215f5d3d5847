"""`explicitlm data log`, and data versions in unusual clones."""

from __future__ import annotations

import json
import shutil

import pytest

from explicitlm.common.errors import DataError
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.workspace import Workspace

CURRENT = {dataset.param: "" for dataset in DATASETS}


def log(box, dataset: str = "database") -> list[dict]:
    return json.loads(box.explicitlm("data", "log", dataset, "--json").stdout)["versions"]


def version_at(root, **revisions: str) -> str:
    """The commit that a revision of the training data resolves to."""
    (found,) = [
        item.version
        for item in resolve(Workspace(root, root), {**CURRENT, **revisions})
        if item.dataset.folder == "database"
    ]
    assert found is not None and found.commit is not None
    return found.commit


def test_versions_newest_first_with_tags_sizes_and_the_uncommitted_one(project) -> None:
    old, new = project.git("rev-parse", "HEAD~1"), project.git("rev-parse", "HEAD")
    project.git("tag", "snapshot-2024-01", old)
    versions = log(project)
    assert [version["commit"] for version in versions] == [new, old]
    assert [version["tags"] for version in versions] == [[], ["snapshot-2024-01"]]
    assert [version["current"] for version in versions] == [True, False]
    assert versions[0]["nfiles"] == 1
    assert versions[0]["size"] == (project.root / "data/database/text.jsonl").stat().st_size
    assert versions[0]["experiments"] == [] and versions[1]["date"].startswith("20")
    (project.root / "data/database/more.jsonl").write_text('{"text": "more"}\n')
    project.dvc("add", "-q", "data/database")
    assert [version["commit"] for version in log(project, "data/database")] == [None, new, old]
    text = project.explicitlm("data", "log", "dataset").stdout
    assert "snapshot-2024-01" in text and "(uncommitted)" in text and "data v1" in text


def test_a_version_that_came_back_is_one_version(project) -> None:
    first = project.git("rev-parse", "HEAD~1")
    project.git("checkout", "-q", first, "--", "data/database.dvc")
    project.commit("back again", "data/database.dvc")
    assert len(log(project)) == 2


def test_no_such_dataset_and_no_version(project) -> None:
    done = project.explicitlm("data", "log", "databse", check=False)
    assert done.returncode == 2 and "there is no dataset 'databse'" in done.stderr
    done = project.explicitlm("data", "log", "embeddings", check=False)
    assert done.returncode == 3 and "has no version yet" in done.stderr


def test_detached_head(project) -> None:
    old = project.git("rev-parse", "HEAD~1")
    project.git("checkout", "-q", "--detach", old)
    assert version_at(project.root) == old


def test_shallow_clone_says_why_a_revision_is_unknown(project) -> None:
    old, new = project.git("rev-parse", "HEAD~1"), project.git("rev-parse", "HEAD")
    project.run("git", "clone", "-q", "--depth", "1", f"file://{project.root}", str(project.root.parent / "shallow"))
    shallow = project.root.parent / "shallow"
    assert version_at(shallow) == new
    with pytest.raises(DataError, match="this clone is shallow") as caught:
        version_at(shallow, dataset=old)
    assert caught.value.hint == "git fetch --unshallow --tags"


@pytest.mark.parametrize("kind", ["subdirectory", "submodule"])
def test_a_project_inside_another_repository(project, kind: str) -> None:
    outer = project.root.parent / "outer"
    outer.mkdir()
    box = type(project)(outer, project.env)
    box.git("init", "-q")
    if kind == "submodule":
        old, new = project.git("rev-parse", "HEAD~1"), project.git("rev-parse", "HEAD")
        box.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(project.root), "inner")
    else:
        for revision in ("HEAD~1", "HEAD"):
            shutil.rmtree(outer / "inner", ignore_errors=True)
            project.shell(f"mkdir {outer}/inner && git archive {revision} | tar -x --touch -C {outer}/inner")
            box.git("add", "-A")
            box.git("commit", "-qm", revision)
        old, new = box.git("rev-parse", "HEAD~1"), box.git("rev-parse", "HEAD")
    assert version_at(outer / "inner") == new
    assert version_at(outer / "inner", dataset=old) == old


def test_a_dataset_from_before_its_renaming_is_refused_by_name(project) -> None:
    old = project.git("rev-parse", "HEAD")
    project.git("mv", "data/database.dvc", "data/corpus.dvc")
    project.git("commit", "-qm", "the other name")
    renamed = project.git("rev-parse", "HEAD")
    project.git("mv", "data/corpus.dvc", "data/database.dvc")
    project.git("commit", "-qm", "and back")
    assert version_at(project.root, dataset=old) == old
    with pytest.raises(DataError, match=r"data/database.dvc did not exist at .* which has .*data/corpus.dvc"):
        version_at(project.root, dataset=renamed)
