"""docs/data.md (and the Chinese one), typed in by a new user: every command of it, on a store started as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from s3_servers import BUCKET, KEY, SECRET

DOCS = Path(__file__).parents[2] / "docs"


def commands(document: str) -> list[str]:
    """The lines of its bash blocks, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines() if line]


@pytest.mark.parametrize("document", ["data.md", "data.zh-CN.md"])
def test_every_command_of_the_guide(warm, rclone, tmp_path, document: str) -> None:
    found = commands(document)
    log, pinned, *everyday = found
    everyday, store = everyday[:-3], everyday[-3:]
    warm.env.update(AWS_SECRET_ACCESS_KEY=SECRET)  # the prompt asks a terminal only
    choose, doctor, back = (line.replace("HOST:9000", f"127.0.0.1:{rclone.port}").replace("KEY", KEY) for line in store)

    warm.git("init", "-q", "--bare", str(tmp_path / "origin"))
    warm.git("remote", "add", "origin", str(tmp_path / "origin"))
    warm.shell(choose)
    assert "has bucket dvc-storage" in warm.shell(doctor).stdout
    text = warm.root / "data/database/text.jsonl"
    lines = text.read_text().splitlines(keepends=True)
    text.unlink()  # "write a new one in its place"
    text.write_text("".join(lines[:50]))
    add, commit, push, tag, pull, *look = everyday
    for line in (add, commit, push, tag):
        warm.shell(line)
    assert len(rclone.objects(BUCKET)) == 2
    assert text.stat().st_nlink == 2 and warm.git("status", "--porcelain") == ""

    warm.explicitlm("run", "exp_001", "-m", "a first one")
    warm.git("push", "-q", "--tags", "-u", "origin", "main")
    clone = warm.clone("clone")
    clone.git("remote", "set-url", "origin", str(tmp_path / "origin"))
    clone.shell(choose)
    clone.shell(pull)
    assert (clone.root / "data/database/text.jsonl").read_text() == "".join(lines[:50])
    clone.shell('dvc unprotect data/database && echo \'{"text": "one more"}\' >> data/database/text.jsonl')
    for line in (add, commit, log, pinned, *look):
        done = clone.shell(line)
        if line == log:
            assert "exp_001" in done.stdout and "snapshot-2024-01" in done.stdout
        if line == pinned:
            assert re.search(r"database: \w{8} -> \w{8}, 1 files, .*, 1 differ", done.stdout)
    assert clone.record("exp_005")["data"]["database"]["md5"] == warm.record("exp_001")["data"]["database"]["md5"]
    clone.shell(back)
