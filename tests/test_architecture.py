"""The shape of the project: imports point downwards, the tree is as documented, nothing refers to absent files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/explicitlm"
# A package may import itself, what is further to the right in its row, and what is named for it below.
TIERS = (
    "cli",
    "doctor",
    "export proof report watch",
    "cluster",
    "pipeline",
    "comparison",
    "datasets records",
    "vcs",
    "common",
)
# The hyperparameters, which of them change no weight, and how types are checked: all that the other half knows of lm
CONFIGURATION = ("explicitlm.lm.config", "explicitlm.lm.observation", "explicitlm.lm.typed")
STARTERS = ("cli", "doctor", "cluster", "pipeline", "comparison")  # start trainings and read what they wrote


def modules() -> Iterator[tuple[str, str]]:
    """Every import of ours: the package that imports, and the module that is imported."""
    for path in sorted(SOURCE.rglob("*.py")):
        package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            yield from ((package, name) for name in names)


def rank(package: str) -> int:
    return next(number for number, tier in enumerate(TIERS) if package in tier.split())


def test_imports_point_downwards() -> None:
    wrong = []
    for package, name in modules():
        parts = name.split(".")
        if parts[0] != "explicitlm" or len(parts) < 2 or parts[1] in ("__version__", package):
            continue
        if package in ("__init__", "__main__"):
            continue
        if package == "lm":
            allowed = parts[1] == "common"
        elif parts[1] == "lm":
            allowed = package in STARTERS or (
                package in ("export", "proof", "records", "report") and name.startswith(CONFIGURATION)
            )
        else:
            allowed = package != "common" and rank(parts[1]) >= rank(package)
        if not allowed:
            wrong.append(f"{package} imports {name}")
    assert wrong == []


def test_common_needs_only_the_standard_library() -> None:
    outside = {name for package, name in modules() if package == "common"
               if name.split(".")[0] not in {*sys.stdlib_module_names, "explicitlm"}}  # fmt: skip
    assert outside == set()


@pytest.mark.parametrize("package", ["records", "vcs", "datasets"])
def test_records_and_versions_need_no_torch(package: str) -> None:
    names = [f"explicitlm.{package}.{path.stem}" for path in (SOURCE / package).glob("*.py") if path.stem != "__init__"]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("module", "more"),
    [
        ("pipeline.sync_data", ["explicitlm.vcs.data_store", "importlib.metadata"]),
        ("pipeline.train", ["explicitlm.vcs.data_store", "importlib.metadata"]),
        ("pipeline.record", ["explicitlm.vcs.data_store", "importlib.metadata"]),
        ("cli.main", ["msgspec", "explicitlm.vcs"]),
    ],
)
def test_what_starts_often_loads_nothing_heavy(module: str, more: list[str]) -> None:
    heavy = ["asyncio", "dvc", "git", "numpy", "pydantic", "rich", "swanlab", "torch", *more]
    code = f"import sys, explicitlm.{module}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def tree() -> dict[str, str]:
    """The paths in README's tree, with what is said of each."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("## What is where\n\n")[1].split("\n\n")[0]
    found, folders = {}, {0: ""}
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip()) - 4
        names, words = re.split(r"\s{2,}", line.strip(), maxsplit=1) if "  " in line.strip() else (line.strip(), "")
        for name in names.split(", "):
            found[folders[indent] + name] = words
            folders[indent + 4] = folders[indent] + name
    return found


def test_readmes_tree_is_the_real_one() -> None:
    named = tree()
    assert [path for path in named if not (ROOT / path).exists()] == []
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Files that every project has, or that the tools named in them look for, need no line.
    usual = re.compile(r"\.|README|LICENSE|CHANGELOG|CONTRIBUTING|Makefile|pyproject|system-packages|docker-compose")
    for parent in ("", "src/explicitlm/", "src/explicitlm/lm/"):
        inside = [name[len(parent) :] for name in tracked.split("\0") if name and name.startswith(parent)]
        real = {parent + name.split("/")[0] for name in inside}
        real -= {parent + name for name in ("__init__.py", "__main__.py", "py.typed")} | {"src"}
        assert (
            sorted(path for path in real - {path.rstrip("/") for path in named} if not usual.match(path[len(parent) :]))
            == []
        )


def test_nothing_refers_to_a_document_that_is_not_here() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    absent = re.compile(r"facts/\w+\.md|design\.md|\bthe guide\b|\bthe guide's\b|\bthe design\b|指南", re.IGNORECASE)
    link = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    wrong = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or path.suffix in (".lock", ".json", ".png"):
            continue
        text = path.read_text(encoding="utf-8")
        wrong += [f"{name}: {found}" for found in absent.findall(text)]
        if path.suffix == ".md":
            wrong += [f"{name}: {to}" for to in link.findall(text) if not (path.parent / to).exists()]
    assert wrong == []


def test_paths_in_messages_and_docstrings_exist() -> None:
    """A document or test that code names, such as docs/data.md, is really there."""
    named = re.compile(r"(?<![\w/.])(?:docs|benchmarks|tests|scripts)/[\w./-]+\.(?:md|py|sh)")
    wrong = [f"{path.relative_to(ROOT)}: {name}" for top in ("src", "tests", "benchmarks")
             for path in (ROOT / top).rglob("*.py") if path != Path(__file__)
             for name in named.findall(path.read_text(encoding="utf-8")) if not (ROOT / name).exists()]  # fmt: skip
    assert wrong == []
