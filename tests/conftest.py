"""Fixtures for all tests: projects of their own (tests/support/sandbox.py), copied from one that is made once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from messages import messages
from sandbox import Sandbox, make_project, sandbox_env
from stub_training import STUB
from warm_environment import warm_environment
from warm_processes import warm_processes

pytest_plugins = ["s3_servers", "slurm_server", "two_hosts", "two_host_slurm", "following"]

# A shell that has it is no user's, and each command would compile all of our code anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
settings.register_profile("explicitlm", deadline=None)  # a busy machine is no failure
settings.load_profile("explicitlm")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The project that every test's own is copied from."""
    return make_project(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def fresh(template: Sandbox) -> Callable[[Path], Sandbox]:
    """Makes a project of one's own in a folder."""

    def copy(folder: Path) -> Sandbox:
        shutil.copytree(template.root, folder / "project", symlinks=True)
        return Sandbox(folder / "project", sandbox_env(folder / "home"))

    return copy


@pytest.fixture
def project(fresh: Callable[[Path], Sandbox], tmp_path: Path) -> Sandbox:
    """A project of the test's own, free to be changed."""
    return fresh(tmp_path)


@pytest.fixture(scope="session")
def warm_server() -> Iterator[str]:
    """Where DVC and our command line are forked instead of started (see warm_processes)."""
    with warm_processes("commands") as address:
        yield address


@pytest.fixture(scope="session")
def stub_commands(tmp_path_factory: pytest.TempPathFactory, warm_server: str) -> Path:
    """Folder of commands that start at once, and of which `accelerate launch` only writes files (see stub_training)."""
    return warm_environment(tmp_path_factory.mktemp("stub") / "venv", warm_server, accelerate=STUB)


@pytest.fixture(scope="session")
def warm_commands(tmp_path_factory: pytest.TempPathFactory, warm_server: str) -> Iterator[Path]:
    """Folder of commands that start at once, and of which `accelerate launch` trains."""
    with warm_processes("trainings") as trainings:
        yield warm_environment(tmp_path_factory.mktemp("warm") / "venv", warm_server, trainings)


@pytest.fixture(scope="session")
def plain_commands(tmp_path_factory: pytest.TempPathFactory, warm_server: str) -> Path:
    """Folder of commands that start at once, but for `accelerate launch`."""
    return warm_environment(tmp_path_factory.mktemp("plain") / "venv", warm_server)


@pytest.fixture
def quick(project: Sandbox, stub_commands: Path) -> Sandbox:
    """A project in which commands start at once and a training takes no time: for what lies around it."""
    return project.with_commands(stub_commands)


@pytest.fixture
def warm(project: Sandbox, warm_commands: Path) -> Sandbox:
    """A project in which commands and real trainings start at once: for more than how they are started and ended."""
    return project.with_commands(warm_commands)


@pytest.fixture
def here(project: Sandbox, plain_commands: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A project of the test's own, in whose environment and folder this process is; commands start at once."""
    box = project.with_commands(plain_commands)
    box.export(monkeypatch)
    monkeypatch.setattr(sys, "executable", str(plain_commands / "python"))  # by which the product starts DVC
    monkeypatch.chdir(box.root)
    return box


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that the project's modules log during the test."""
    with messages() as lines:
        yield lines


@pytest.fixture
def bare_env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The isolated environment without a project."""
    yield sandbox_env(tmp_path / "home")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the whole pipeline train for real."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true nothing may be skipped: there a missing system package is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
