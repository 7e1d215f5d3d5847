"""Small files are written whole or not at all."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicitlm.common.errors import UsageError
from explicitlm.common.files import read_json, to_json, write_json


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_comes_back_unchanged(value: dict) -> None:
    if "\ud800" <= max("".join(map(str, [*value, *value.values()])), default="") <= "\udfff":
        return  # lone surrogates are escaped: see the test below
    assert json.loads(to_json(value).encode("utf-8")) == value


def test_lone_surrogates_stay_valid_utf8() -> None:
    text = to_json({"description": "bad \udcff byte"})
    assert json.loads(text.encode("utf-8"))["description"] == "bad \udcff byte"


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"loss": float("nan")})


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"state": "old"})
    program = f"""
import resource
from pathlib import Path
from explicitlm.common.files import write_json
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))  # the kernel refuses to write more, as a full disk does
write_json(Path({str(path)!r}), {{"state": "new" * 1000}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0
    assert read_json(path, "") == {"state": "old"}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 64


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ufeff{"])
def test_a_half_file_is_an_error_with_a_hint(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_json(path, "dvc repro sync_data")
    assert caught.value.hint == "dvc repro sync_data"
