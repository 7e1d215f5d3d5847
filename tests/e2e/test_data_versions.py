"""Each experiment on its own versions of the datasets: two at once, and a mixture that a bare clone restores."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from processes import wait_for


def experiment_record(box, experiment: str) -> dict:
    """The record inside an experiment that is not published yet."""
    listed = box.git("for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", "refs/exps")
    refs = dict(line.split() for line in listed.splitlines())
    return json.loads(box.git("show", f"{refs[experiment]}:experiments/records/{experiment}.json"))


def pointer_md5(box, revision: str, folder: str) -> str:
    """The hash that a revision's .dvc file names."""
    return box.git("show", f"{revision}:./data/{folder}.dvc").split("md5: ")[1].split()[0]


def file_hashes(root: Path, folder: str) -> dict[str, str]:
    """What really lies in a data folder."""
    paths = (path for path in (root / "data" / folder).rglob("*") if path.is_file())
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


def version_hashes(box, revision: str, folder: str) -> dict[str, str]:
    """The files of a version, from DVC's cache."""
    md5 = pointer_md5(box, revision, folder)
    listed = json.loads((box.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).read_text())
    return {entry["relpath"]: entry["md5"] for entry in listed}


def without_cache(project, rclone) -> tuple[str, str]:
    """Leaves both versions on the remote alone; DVC makes an isolated tree from the cache and omits what is not there.

    Returns:
        the commits of the older and the newer version.
    """
    rclone.use(project)
    project.dvc("push", "-q", "--all-commits")
    shutil.rmtree(project.root / ".dvc/cache")
    return project.git("rev-parse", "HEAD~1"), project.git("rev-parse", "HEAD")


def check_data(project, record: dict, revisions: dict[str, str]) -> None:
    """A finished experiment used exactly these versions, and says so wherever it names them."""
    assert record["status"] == "finished"
    for folder, revision in revisions.items():
        md5 = pointer_md5(project, revision, folder)
        assert record["data"][folder]["md5"] == md5
        assert record["dependencies"].get(f"data/{folder}", md5) == md5
    assert project.git("status", "--porcelain", "data") == ""


def test_two_queue_workers_on_two_versions_that_the_cache_lacks(project, rclone) -> None:
    old, new = without_cache(project, rclone)
    project.dvc("exp", "run", "--queue", "-n", "on_old", "-S", "epochs=20", "-S", f'data.dataset="{old}"')
    project.dvc("exp", "run", "--queue", "-n", "on_new", "-S", "epochs=20")
    project.dvc("queue", "start", "-j", "2")
    try:
        wait_for(lambda: project.git("for-each-ref", "refs/exps").count("/on_") == 2)
    finally:
        project.dvc("queue", "stop", "--kill")
    records = {name: experiment_record(project, name) for name in ("on_old", "on_new")}
    for name, revision in (("on_old", old), ("on_new", new)):
        record = records[name]
        assert record["experiment"]["id"] == name and record["results"]["weights_from"] == name
        check_data(project, record, {"database": revision, "benchmarks": new, "knowledge_base": new})
        assert record["versions"]["data"]["dataset_commit"] == revision
        assert record["dependencies"]["data/database"] == record["data"]["database"]["md5"]
    times = [records[name]["timing"] for name in records]
    assert max(time["started_at"] for time in times) <= min(time["finished_at"] for time in times), "not at once"
    assert records["on_old"]["versions"]["checkpoint_hash"] != records["on_new"]["versions"]["checkpoint_hash"]


def test_an_isolated_run_fetches_what_the_cache_lacks(warm, rclone) -> None:
    old, new = without_cache(warm, rclone)
    warm.dvc("exp", "run", "--temp", "-n", "on_old", "-S", f'data.dataset="{old}"')
    record = experiment_record(warm, "on_old")
    assert record["results"]["weights_from"] == "on_old"
    check_data(warm, record, {"database": old, "benchmarks": new, "knowledge_base": new})


@pytest.mark.parametrize("kind", ["subdirectory", "submodule"])
def test_a_project_inside_another_repository(warm, kind: str) -> None:
    """The three commands on an older version, below the top of the repository that holds the project."""
    outer = type(warm)(warm.root.parent / "outer", warm.env)
    outer.root.mkdir()
    outer.git("init", "-q")
    if kind == "submodule":
        outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(warm.root), "inner")
        outer.git("commit", "-qm", "with a submodule")
    else:
        for revision in ("HEAD~1", "HEAD"):
            shutil.rmtree(outer.root / "inner", ignore_errors=True)
            warm.shell(f"mkdir {outer.root}/inner && git archive {revision} | tar -xm -C {outer.root}/inner")
            outer.git("add", "-A")
            outer.git("commit", "-qm", revision)
    shutil.copytree(warm.root / ".dvc/cache", outer.root / "inner/.dvc/cache")
    inner = type(warm)(outer.root / "inner", warm.env)
    old = inner.git("rev-parse", "HEAD~1")
    inner.dvc("exp", "run", "-n", "exp_in", "-S", f'data.dataset="{old}"')
    record = inner.record("exp_in")
    assert record["status"] == "finished"
    assert record["data"]["database"]["md5"] == pointer_md5(inner, old, "database")
    assert record["versions"]["data"]["dataset_commit"] == old
    assert file_hashes(inner.root, "database") == version_hashes(inner, old, "database")


def test_a_mixture_is_restored_from_git_and_the_store_alone(warm, rclone) -> None:
    """Old training data, current validation data, a snapshot tag for the knowledge base."""
    rclone.use(warm)
    old, new = warm.git("rev-parse", "HEAD~1"), warm.git("rev-parse", "HEAD")
    warm.git("tag", "snapshot-2024-01", old)
    warm.explicitlm("run", "exp_mix", "-m", "a mixture", f"data.dataset={old}", "data.database_init=snapshot-2024-01")
    record = warm.record("exp_mix")
    expected = {"database": old, "benchmarks": new, "knowledge_base": old}
    for folder, revision in expected.items():
        assert record["data"][folder]["md5"] == pointer_md5(warm, revision, folder)
    assert record["data"]["knowledge_base"]["revision"] == "snapshot-2024-01"
    warm.dvc("push", "-q", "data/database", "data/benchmarks", "data/knowledge_base")  # the current ones too

    clone = warm.clone("clone")
    rclone.use(clone)
    for step in record["reproduction"]["data_checkout_steps"]:
        clone.shell(step)
    for folder, revision in expected.items():
        assert file_hashes(clone.root, folder) == version_hashes(warm, revision, folder)
    clone.shell(record["reproduction"]["checkpoint_pull"])
    assert (clone.root / "checkpoints/exp_mix/model.safetensors").exists()

    listed = json.loads(warm.explicitlm("data", "log", "database", "--json").stdout)["versions"]
    assert [version["experiments"] for version in listed] == [[], ["exp_mix"]]
    assert [version["tags"] for version in listed] == [[], ["snapshot-2024-01"]]
