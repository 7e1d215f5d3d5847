"""What is shown of a text from outside."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from explicitlm.common.files import write_text
from explicitlm.common.shown import printable, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:s3cr3t@host/x.git", "https://***@host/x.git"),
        ("push to ssh://ada:p@ss@host:22/x failed", "push to ssh://***@host:22/x failed"),
        ("http://token@a/b and http://u:p@c/d", "http://***@a/b and http://***@c/d"),
        ("https://host/a@b", "https://host/a@b"),
        ("mail ada@example.org", "mail ada@example.org"),
    ],
)
def test_no_login_of_a_url_is_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("letter", ["\x1b", "\0", "\r", "\x9b", "\u202e", "\u2066", "\udc80", "\u2028"])
def test_nothing_that_steers_a_terminal_is_shown(letter: str) -> None:
    shown = printable(f"a{letter}b")
    assert letter not in shown and shown.startswith("a\\") and shown.encode("utf-8")


def test_every_other_text_stays() -> None:
    text = '中文 "quotes" ё 🚀\n\ttab'
    assert printable(text) == text


@pytest.mark.parametrize(("mask", "mode", "left"), [(0o002, 0o666, 0o664), (0o077, 0o666, 0o600), (0, 0o600, 0o600)])
def test_the_users_umask_is_honoured(tmp_path: Path, mask: int, mode: int, left: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "record.json", "{}", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == left
