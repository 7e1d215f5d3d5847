"""An error of the operating system gets the remedy that belongs to it, and no other."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from explicitlm.common.errors import StorageError, run_reporting


@pytest.mark.hint("df -h{}; free space there, then the same command")
@pytest.mark.hint("ls -ld{}; it must be writable for you, then the same command")
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free space there"),
        (errno.EDQUOT, "free space there"),
        (errno.EACCES, "must be writable"),
        (errno.EROFS, "must be writable"),
        (errno.EMFILE, "EXPLICITLM_DEBUG=1"),
        (errno.EIO, "EXPLICITLM_DEBUG=1"),
    ],
)
def test_each_errno_has_its_own(number: int, words: str, capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    def fail() -> int:
        raise OSError(number, os.strerror(number), str(tmp_path / "a folder's"))

    (tmp_path / "a folder's").mkdir()
    assert run_reporting(fail) == StorageError.exit_code
    told = capsys.readouterr().err
    hint = told.split("next: ")[1].strip()
    assert words in hint and os.strerror(number) in told
    others = {"free space", "must be writable", "EXPLICITLM_DEBUG"} - {words.split(" there")[0].split("=")[0]}
    assert not any(other in hint for other in others)
    if ";" in hint:
        assert subprocess.run(["bash", "-c", hint.split(";")[0]], capture_output=True).returncode == 0
