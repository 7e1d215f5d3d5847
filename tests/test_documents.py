"""Documents in both languages tell the same commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRANSLATED = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/*.zh-CN.md")))
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[str]:
    """The commands of a document's blocks, without their comments, messages and conclusions."""
    lines = "".join(BLOCK.findall(document.read_text(encoding="utf-8"))).splitlines()
    worded = [re.sub(r'(-m|conclude \S+) "[^"]*"', r"\1", line) for line in lines]
    return [told for line in worded if (told := re.sub(r"(^|\s+)# .*", "", line).rstrip())]


def test_there_are_documents_in_both_languages() -> None:
    assert len(TRANSLATED) >= 4


@pytest.mark.parametrize("chinese", TRANSLATED, ids=str)
def test_both_languages_tell_the_same_commands(chinese: Path) -> None:
    english = ROOT / str(chinese).replace(".zh-CN", "")
    assert english.exists()
    assert commands(ROOT / chinese) == commands(english)
