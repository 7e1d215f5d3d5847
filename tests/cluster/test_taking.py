"""What DVC takes into the cache keeps a second name until it is done, and no link of a stranger's is followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from explicitlm.cluster.taking import FOLDER, put_back, second_names

PIPELINE = "stages:\n  train:\n    cmd: train\n    outs: [weights, items]\n"
FILES = ("weights/model", "weights/config", "items", "logs/x.log")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "dvc.yaml").write_text(PIPELINE)
    return folder


def killed(tree: Path) -> None:
    """DVC has moved a file of a folder and the other out away when it is killed."""
    with pytest.raises(KeyboardInterrupt), second_names(tree, FILES):
        (tree / "weights/model").rename(tree / "moved")
        (tree / "items").unlink()
        (tree / "items").symlink_to(tree / "nothing")
        raise KeyboardInterrupt


def test_of_a_move_that_ends_nothing_stays(tree: Path) -> None:
    with second_names(tree, FILES):
        assert not (tree / FOLDER / "logs").exists()
    assert not (tree / FOLDER).exists()


def test_what_a_killed_move_took_is_put_back_without_a_copy(tree: Path) -> None:
    killed(tree)
    (tree / "weights/config").write_text("newer")
    put_back(tree, FILES)
    assert [(tree / name).read_text() for name in FILES] == ["weights/model", "newer", "items", "logs/x.log"]
    assert (tree / "weights/model").samefile(tree / "moved")
    killed(tree)  # once more, with what lies there now
    put_back(tree, FILES)
    assert (tree / "items").read_text() == "items"


def test_a_link_in_its_place_is_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "weights").mkdir(parents=True)
    (outside / "weights/model").write_text("secret")
    (tree / FOLDER).parent.mkdir(exist_ok=True)
    (tree / FOLDER).symlink_to(outside)
    (tree / "weights/model").unlink()
    put_back(tree, FILES)
    assert not (tree / "weights/model").exists()
    with second_names(tree, FILES[1:]):
        assert not (outside / "items").exists()
    assert (outside / "weights/model").read_text() == "secret"
