"""A project whose data has files enough for something to happen in the middle."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from messages import messages

from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.pointer import Pointer, parse_pointer
from explicitlm.vcs.workspace import Workspace

FILES = 150


@dataclass
class Data:
    """The project's training data: one version with many files, and what one does with it."""

    box: Any
    root: Path

    @property
    def pointer(self) -> Pointer:
        """Its current version."""
        return parse_pointer((self.root / "data/database.dvc").read_text(), "database")

    @property
    def cache(self) -> Path:
        """DVC's cache."""
        return self.root / ".dvc/cache"

    def push(self) -> None:
        """To the remote, as publish does."""
        with open_store(self.root) as data_store:
            data_store.push({"data/database": self.pointer})

    def forget(self) -> None:
        """Now only the remote has the current version."""
        shutil.rmtree(self.root / "data/database", ignore_errors=True)
        shutil.rmtree(self.cache, ignore_errors=True)

    def sync(self) -> list[str]:
        """What sync_data does with data."""
        workspace = Workspace(self.root, self.root)
        plans = [item for item in resolve(workspace, {item.param: "" for item in DATASETS})
                  if item.dataset.folder == "database"]  # fmt: skip
        with messages() as lines:
            bring(workspace, plans, check_untouched(workspace, plans))
        return lines

    def objects(self, folder: Path) -> list[Path]:
        """Whole objects in a store or cache."""
        found = [path for path in (folder / "files/md5").rglob("*") if path.is_file()]
        return [path for path in found if not path.name.endswith(".tmp")]

    def check(self) -> None:
        """Every file has the hash that the version names, and git sees nothing changed."""
        listed = json.loads((self.cache / "files/md5" / self.pointer.md5[:2] / self.pointer.md5[2:]).read_text())
        found = {
            str(path.relative_to(self.root / "data/database")): hashlib.md5(path.read_bytes()).hexdigest()
            for path in (self.root / "data/database").rglob("*")
            if path.is_file()
        }
        assert found == {entry["relpath"]: entry["md5"] for entry in listed} and len(found) == FILES
        assert self.box.git("status", "--porcelain") == ""
        assert list((self.root / ".dvc/tmp").glob("explicitlm-store-*")) == []


@pytest.fixture(scope="session")
def many_files(template, tmp_path_factory: pytest.TempPathFactory):
    """The template with `FILES` files of 4 to 40 KB as training data."""
    root = tmp_path_factory.mktemp("many") / "project"
    shutil.copytree(template.root, root, symlinks=True)
    box = type(template)(root, template.env)
    shutil.rmtree(root / "data/database")
    (root / "data/database/part").mkdir(parents=True)
    for index in range(FILES):
        line = json.dumps({"text": f"document {index} " * 20}) + "\n"
        (root / f"data/database/part/{index:03d}.jsonl").write_text(line * (10 + index % 10 * 10))
    box.dvc("add", "-q", "data/database")
    box.commit("many files", "data/database.dvc")
    return box


@pytest.fixture
def data(many_files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """The project of this test alone, with this process in its environment."""
    shutil.copytree(many_files.root, tmp_path / "project", symlinks=True)
    env = many_files.env | {"HOME": str(tmp_path), "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc-site")}
    shutil.copy(Path(many_files.env["HOME"]) / ".gitconfig", tmp_path)
    box = type(many_files)(tmp_path / "project", env)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(box.root)
    return Data(box, box.root)
