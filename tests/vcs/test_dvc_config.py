"""DVC's configuration of all four levels counts, as it does for DVC itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.vcs.data_store import open_store, remote_of
from explicitlm.vcs.dvc_config import cache_dir, dvc_config, for_transfer, missing_plugin
from explicitlm.vcs.pointer import parse_pointer


@pytest.fixture
def levels(project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose cache and remotes are in the global and system configuration; gives the folder of both."""
    for name in ("global", "system"):
        (tmp_path / name).mkdir()
        project.env[f"DVC_{name.upper()}_CONFIG_DIR"] = str(tmp_path / name)
    (tmp_path / "global/config").write_text(
        "[core]\n    remote = shared\n[cache]\n    dir = ../大 cache\n    type = symlink\n"
    )
    (tmp_path / "system/config").write_text("['remote \"shared\"']\n    url = ../store\n")
    project.dvc("config", "--local", "core.remote", "shared")  # the project's own would overrule the person's
    project.dvc("config", "--unset", "cache.type")
    shutil.move(project.root / ".dvc/cache", tmp_path / "大 cache")
    project.export(monkeypatch)
    return tmp_path


def test_cache_and_remote_of_the_person_and_of_the_system_count(project, levels: Path) -> None:
    assert cache_dir(project.root) == levels / "大 cache"
    remote = remote_of(project.root)
    assert remote is not None and (remote.name, remote.folder) == ("shared", levels / "store")
    pointer = parse_pointer((project.root / "data/database.dvc").read_text(), "database")
    with open_store(project.root) as store:
        assert store.missing(pointer) == []
        store.push({"data/database": pointer})
    assert (levels / "store/files/md5" / pointer.md5[:2] / pointer.md5[2:]).exists()
    shutil.rmtree(levels / "大 cache")
    with open_store(project.root) as store:
        store.fetch({"data/database": pointer})
        assert store.missing(pointer) == []


def test_what_is_written_for_a_transfer_says_the_same(project, levels: Path, tmp_path: Path) -> None:
    secret = 'p#a\'ss, "word" ${x}'
    config = dvc_config(project.root)
    config["remote"]["minio"]["region"] = "中"
    config["remote"]["minio"]["secret_access_key"] = secret.replace('"', "")
    other = tmp_path / "other"
    (other / ".dvc").mkdir(parents=True)
    (other / ".dvc/config").write_text(for_transfer(config), encoding="utf-8")
    again = dvc_config(other)
    assert again["remote"]["minio"]["secret_access_key"] == secret.replace('"', "")
    assert again["remote"]["minio"]["region"] == "中"
    assert again["cache"] == config["cache"] and again["core"]["remote"] == "shared"
    assert again["remote"]["shared"]["verify"] == "true"


def test_a_missing_plug_in_is_named_without_the_password(project) -> None:
    config = dvc_config(project.root)
    config["remote"]["far"] = {"url": "azure://me:secret@container/x"}
    error = missing_plugin("far", config)
    assert error is not None and "dvc-azure" in error.cause and error.hint == "pip install 'dvc[azure]'"
    assert "secret" not in error.cause
    assert missing_plugin("minio", config) is None


@pytest.mark.hint("dvc config --list --show-origin names the file")
@pytest.mark.parametrize(("text", "cause"), [("[core\n", "config.local"), ("[core]\n    nonsense = 1\n", "nonsense")])
def test_a_broken_configuration_is_told_with_its_place(project, text: str, cause: str) -> None:
    (project.root / ".dvc/config.local").write_text(text)
    with pytest.raises(UsageError, match=cause) as caught:
        dvc_config(project.root)
    if caught.value.hint.startswith("dvc "):
        command = caught.value.hint.split(" names ")[0]
        done = subprocess.run(command.split(), cwd=project.root, env=project.env, capture_output=True, text=True)
        assert done.returncode == 0 and "config.local" in done.stdout
