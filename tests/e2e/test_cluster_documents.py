"""docs/cluster.md as it stands, on two hosts that are really apart: its example in both forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/cluster.md"
BLOCK = re.compile(r"^```bash\n# (login|compute) node\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(section: str) -> Iterator[tuple[str, str]]:
    """Host and commands of each block of a section, with this test's host and folder for the document's."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (part,) = re.findall(rf"^## {section}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    for host, commands in BLOCK.findall(part):
        yield host, "set -e\n" + _small(commands)


def _small(commands: str) -> str:
    """For this test's hosts, and with a bank in which a training takes seconds."""
    there = commands.replace("compute-node:", "compute:").replace("/path/to", "/srv/proj")
    return there.replace("knowledge_num=1048576", "knowledge_num=4096")


def replay(section: str, login, hosts) -> None:
    """Runs a section's blocks, each on its host."""
    for host, commands in blocks(section):
        if host == "login":
            login.shell(commands)
        else:
            hosts.compute(commands)


def test_both_forms_end_in_the_same_experiment(hosts, login) -> None:
    login.git("init", "-q", "--bare", "../origin.git")
    login.git("remote", "add", "origin", "../origin.git")
    replay("Three phases", login, hosts)
    assert "refs/tags/exp_002" in login.git("ls-remote", "--tags", "origin")
    assert hosts.compute("test -d runs/exp_003/src && ls -a runs/exp_003").stdout.count(".git\n") == 0

    replay("With DVC's own commands", login, hosts)
    sealed, plain = login.record("exp_002"), login.record("exp_004")
    assert sealed["status"] == plain["status"] == "finished"
    assert plain["experiment"]["script"].startswith("dvc exp run -n exp_004")
    assert sealed["versions"]["checkpoint_hash"] == plain["versions"]["checkpoint_hash"]
    assert sealed["results"]["metrics"] == plain["results"]["metrics"]
    for part in ("hyperparameters", "data", "dependencies", "findings", "code"):
        assert sealed[part] == plain[part], part
    files = [
        login.git("ls-tree", "-r", "--name-only", name).replace(name, "ID").split() for name in ("exp_002", "exp_004")
    ]
    assert set(files[0]) <= set(files[1]), set(files[0]) - set(files[1])
    assert login.git("tag").split() == ["exp_002", "exp_004"]
