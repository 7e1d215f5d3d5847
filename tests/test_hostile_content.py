"""Content of a colleague's commit, a store or a compute node is refused by name before it acts outside the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explicitlm.common.errors import DataError
from explicitlm.common.names import linked_folders
from explicitlm.vcs.cache import Cache
from explicitlm.vcs.pointer import Pointer

MD5 = "217fb92e28173c0381b22e24d4f07b2a"
OUTSIDE = ["/etc/x", "../x", "a/../../x", "..", ".", "", "a//b", "a/", "a\0b", "\ud800"]


def listing(folder: Path, content: object) -> tuple[Cache, Pointer]:
    path = folder / "cache/files/md5" / MD5[:2] / f"{MD5[2:]}.dir"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return Cache(folder / "cache", ("copy",), folder / "memo.json"), Pointer(f"{MD5}.dir", 1, 1, "database")


@pytest.mark.parametrize("name", [*OUTSIDE, None, 3])
def test_a_list_that_names_files_elsewhere_is_refused(tmp_path: Path, name: object) -> None:
    cache, pointer = listing(tmp_path, [{"md5": MD5, "relpath": "good"}, {"md5": MD5, "relpath": name}])
    for use in (cache.missing, cache.entries, cache.parts, cache.names):
        with pytest.raises(DataError) as caught:
            use(pointer)
        assert repr(name) in caught.value.cause


@pytest.mark.parametrize("md5", ["../../../../x", "", "/etc/passwd", MD5.upper(), f"{MD5}.dir", None])
def test_a_list_with_hashes_that_are_paths_is_refused(tmp_path: Path, md5: object) -> None:
    cache, pointer = listing(tmp_path, [{"md5": md5, "relpath": "x.json"}])
    with pytest.raises(DataError, match=r"x\.json"):
        cache.parts(pointer)


@pytest.mark.parametrize("content", [{}, 3, "text", [3], None])
def test_what_is_no_list_is_refused(tmp_path: Path, content: object) -> None:
    cache, pointer = listing(tmp_path, content)
    with pytest.raises(DataError, match="database"):
        cache.parts(pointer)


def test_a_list_of_plain_names_is_read(tmp_path: Path) -> None:
    names = ["a", "b/c.json", "知识/..x", "two\nlines"]
    cache, pointer = listing(tmp_path, [{"md5": MD5, "relpath": name} for name in names])
    assert cache.entries(pointer) == dict.fromkeys(names, MD5)


def test_links_on_the_way_to_a_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/link").symlink_to(tmp_path / "outside")
    assert linked_folders(tmp_path / "data", ["a/link/deep/x", "a/y", "z"]) == ["a/link"]
