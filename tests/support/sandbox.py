"""A real project, with real git and DVC, in a folder of its own.

A copy of this checkout's files (not only of its commits, so that work in progress is tested), with tiny hyperparameters
and two committed versions of a tiny data set. Nothing of the machine's own configuration is used.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]

# Small enough that a training process takes seconds; every part of the model is still there.
TINY = {
    "epochs": 1,
    "knowledge_num": 256,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "vocab_size": 300,
    "max_seq_len": 32,
    "knowledge_dim": 16,
    "batch_size": 4,
    "accumulation_steps": 1,
    "save_interval": 5,
    "digest_interval": 5,
    "log_interval": 1,
}
PEOPLE = ("Ada", "Bo", "Chen", "Dina", "Emil", "Fay", "Gus", "Hana")
CITIES = ("Oslo", "Lima", "Kyoto", "Accra", "Quito", "Turin", "Varna", "Hanoi")


@dataclass(frozen=True)
class Sandbox:
    """A project in a folder of its own, and the commands a user would type there."""

    root: Path
    env: dict[str, str]
    prefix: tuple[str, ...] = ()  # before every command: enters another host
    real: Sandbox | None = None  # where commands start for real, if they are forked here (see warm_processes)

    def run(self, *words: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the project; a failure shows what it printed."""
        done = subprocess.run(
            [*self.prefix, *words],
            cwd=self.root,
            env=self.env | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(words)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def with_commands(self, folder: Path) -> Sandbox:
        """The same project, in which the commands of a folder come first."""
        return replace(self, env=self.env | {"PATH": f"{folder}{os.pathsep}{self.env['PATH']}"}, real=self)

    def export(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Puts the project's environment into this process: its own identity and configuration, not the caller's."""
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)

    def shell(self, line: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a line as it stands, as a user would paste it."""
        return self.run("bash", "-c", line, check=check)

    def git(self, *words: str) -> str:
        """Runs git and gives its output."""
        return self.run("git", *words).stdout.strip()

    def dvc(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs DVC."""
        return self.run("dvc", *words, check=check)

    def explicitlm(self, *words: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs our command line."""
        return self.run("explicitlm", *words, check=check, **more)

    def record(self, experiment: str) -> dict[str, Any]:
        """An experiment's record."""
        path = self.root / f"experiments/records/{experiment}.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def set_params(self, **values: object) -> None:
        """Edits params.yaml as a user would."""
        yaml = YAML()
        path = self.root / "params.yaml"
        content = yaml.load(path)
        content.update(values)
        yaml.dump(content, path)

    def commit(self, message: str, *paths: str) -> str:
        """Commits paths and gives the new commit."""
        self.git("add", "--", *paths)
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def snapshot(self) -> dict[str, str]:
        """What a failed command must not change: branch, tags, experiments, status, .dvc files and parameters."""
        files = {path.name: path.read_text() for path in sorted(self.root.glob("data/*.dvc"))}
        return files | {
            "refs": self.git("for-each-ref"),
            "status": self.git("status", "--porcelain"),
            "params": (self.root / "params.yaml").read_text() if (self.root / "params.yaml").exists() else "",
        }

    def clone(self, name: str) -> Sandbox:
        """A fresh clone beside this project, so that it has the same remote folder."""
        target = self.root.parent / name
        subprocess.run(["git", "clone", "-q", str(self.root), str(target)], check=True, env=self.env)
        return Sandbox(target, self.env)


def write_data(root: Path, version: int) -> None:
    """Tiny data in the formats of docs/data-formats.md: text, benchmark items, facts."""
    people = PEOPLE[: 4 * version]
    facts = [(person, CITIES[(index * 3 + version) % 8]) for index, person in enumerate(people)]
    texts = [f"{person} lives in {city}. In {city} one meets {person}." for person, city in facts] * 12
    for folder in ("database", "benchmarks", "knowledge_base"):
        shutil.rmtree(root / "data" / folder, ignore_errors=True)
        (root / "data" / folder).mkdir(parents=True)
    (root / "data/database/text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    items = [
        {"task": "object_prediction", "uuid": f"u{i}", "prompt": f"{p} lives in", "choices": [c, "Rome"], "answer": 0}
        for i, (p, c) in enumerate(facts)
    ]
    items += [{"text": f"{person} is at home in {city}."} for person, city in facts]
    (root / "data/benchmarks/items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    entries = [
        {
            "target": [
                {"sentence": f"{p} lives in {c}.", "uuid": f"u{i}", "subject": p, "predicate": "city", "object": c}
            ]
        }
        for i, (p, c) in enumerate(facts)
    ]
    (root / "data/knowledge_base/facts.json").write_text(json.dumps(entries))


def sandbox_env(home: Path) -> dict[str, str]:
    """An environment without the machine's configuration, credentials and trackers."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DVC_", "SWANLAB_", "AWS_", "GIT_", "EXPLICITLM_", "ACCELERATE_", "MAKE"))
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Tester\n\temail = tester@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    return kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }


def tracked_files() -> list[str]:
    """Files of this checkout that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [name for name in listed.split("\0") if name and ((ROOT / name).is_file() or (ROOT / name).is_symlink())]


def make_project(base: Path) -> Sandbox:
    """A project of this checkout's files in base/project: two data versions, committed, nothing run."""
    root = base / "project"
    for name in tracked_files():
        if name.startswith(("tests/", "benchmarks/", "docs/", "data/")) and name != "data/.gitignore":
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    box = Sandbox(root, sandbox_env(base / "home"))
    box.set_params(**TINY)
    box.git("init", "-q")
    for version in (1, 2):
        write_data(root, version)
        box.dvc("add", "-q", "data/database", "data/benchmarks", "data/knowledge_base")
        box.git("add", "-A")
        box.git("commit", "-qm", f"data v{version}")
    compileall.compile_dir(root / "src", quiet=1)  # once, for all copies of the project
    return box
