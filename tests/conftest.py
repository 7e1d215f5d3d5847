"""Fixtures for all tests: projects of their own (tests/support/sandbox.py), copied from one that is made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from messages import messages
from sandbox import Sandbox, make_project, sandbox_env
from stub_training import stub_training
from warm_training import warm_training

pytest_plugins = ["s3_servers", "slurm_server", "two_hosts", "two_host_slurm", "following"]

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
def stub_commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of commands in whose environment `accelerate launch` only writes files (see stub_training)."""
    return stub_training(tmp_path_factory.mktemp("stub") / "venv")


@pytest.fixture
def quick(project: Sandbox, stub_commands: Path) -> Sandbox:
    """A project in which a training takes no time: for what lies around it."""
    return Sandbox(project.root, project.env | {"PATH": f"{stub_commands}{os.pathsep}{project.env['PATH']}"})


@pytest.fixture(scope="session")
def warm_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of commands in whose environment `accelerate launch` trains at once (see warm_training)."""
    with warm_training(tmp_path_factory.mktemp("warm")) as commands:
        yield commands


@pytest.fixture
def warm(project: Sandbox, warm_commands: Path) -> Sandbox:
    """A project in which a real training starts at once: for tests of more than how it is started and ended."""
    return Sandbox(project.root, project.env | {"PATH": f"{warm_commands}{os.pathsep}{project.env['PATH']}"})


@pytest.fixture
def here(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A project of the test's own, in whose environment and folder this process is."""
    project.export(monkeypatch)
    monkeypatch.chdir(project.root)
    return project


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
