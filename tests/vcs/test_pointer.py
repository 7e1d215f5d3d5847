"""`.dvc` files."""

from __future__ import annotations

import pytest

from explicitlm.common.errors import DataError
from explicitlm.vcs.pointer import Pointer, parse_pointer

MD5 = "217fb92e28173c0381b22e24d4f07b2a"


def test_text_is_what_dvc_writes() -> None:
    pointer = Pointer(f"{MD5}.dir", 12, 3, "database")
    text = f"outs:\n- md5: {MD5}.dir\n  size: 12\n  nfiles: 3\n  hash: md5\n  path: database\n"
    assert pointer.text() == text
    assert parse_pointer(text, "data/database.dvc") == pointer


def test_what_was_read_is_written_back_byte_for_byte() -> None:
    text = f"# a comment of the user's\nouts:\n- md5: {MD5}\n  path: x\n  desc: words\n"
    assert parse_pointer(text, "x.dvc").text() == text


@pytest.mark.parametrize(
    "text",
    ["", "outs: []", "outs:\n- path: x", "outs:\n- md5: nonsense\n  path: x", "<<<<<<< HEAD", "\x00", "outs: 3", "- 1"],
)
def test_a_broken_file_is_named(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_pointer(text, "data/database.dvc")
    assert "data/database.dvc is broken" in caught.value.cause
    assert "mv data/database.dvc data/database.dvc.aside" in caught.value.hint
