"""`explicitlm doctor`: the guide's check list (5.4), each line with the command that mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from explicitlm.errors import ExplicitLMError, UsageError
from explicitlm.pipeline.data_versions import resolve
from explicitlm.pipeline.identity import NOT_CODE
from explicitlm.pipeline.listing import fits, scan
from explicitlm.project import DATASETS, Project
from explicitlm.vcs import s3
from explicitlm.vcs.courier import remote_of
from explicitlm.vcs.git import Repository
from explicitlm.vcs.pointer import parse_pointer

LOW_DISK_GB = 5.0
LOW_SKEW_S = 60
State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One line of the list."""

    name: str
    state: State
    detail: str
    hint: str = ""

    def line(self) -> str:
        """As a person reads it."""
        mark = {"ok": "[ ok ]", "warn": "[warn]", "fail": "[FAIL]"}[self.state]
        return f"{mark} {self.name}: {self.detail}" + (f"\n       next: {self.hint}" if self.hint else "")

    def as_dict(self) -> dict[str, str]:
        """As a machine reads it."""
        return asdict(self)


def examine() -> list[Check]:
    """Runs every check of the project around the current directory; none stops the others."""
    project = Project.find()
    checks: list[Callable[[Project], Iterator[Check]]] = [
        _git,
        _dvc,
        _remote,
        _parameters,
        _data,
        _disk,
        _environment,
        _logs,
    ]
    found = []
    for check in checks:
        try:
            found += list(check(project))
        except ExplicitLMError as error:
            found.append(Check(check.__name__.strip("_"), "fail", error.cause, error.hint))
    return found


def _git(project: Project) -> Iterator[Check]:
    git = Repository(project.main)
    yield Check("git", "ok", f"{git.branch() or 'detached HEAD'} at {git.head[:8]}")
    try:
        git.check_committable()
    except UsageError as error:
        yield Check("publishing", "warn", error.cause, error.hint)
    changed, untracked = (
        git.changed(NOT_CODE),
        [name for name in git.untracked(NOT_CODE) if name.endswith(".py")],
    )
    if changed or untracked:
        yield Check("code", "warn", f"uncommitted: {', '.join([*changed, *untracked])}", "git add ... && git commit")
    else:
        yield Check("code", "ok", "committed")
    if git.is_shallow():
        yield Check(
            "history",
            "warn",
            "shallow clone: older data versions cannot be named",
            "git fetch --unshallow --tags",
        )


def _dvc(project: Project) -> Iterator[Check]:
    remote = remote_of(project.main)
    if remote is None:
        yield Check("dvc", "fail", "no default remote", "explicitlm remote local")
    else:
        yield Check("dvc", "ok", f"default remote {remote.place}")


def _remote(project: Project) -> Iterator[Check]:
    remote = remote_of(project.main)
    if remote is None:
        return
    if not remote.is_s3:
        yield _folder(Path(remote.url))
        return
    s3.ask(remote)
    yield Check(
        "remote", "ok", f"{remote.endpoint or 'AWS'} answers, takes the credentials, has bucket {remote.bucket}"
    )
    skew = s3.probe(remote)
    yield Check("remote store", "ok", "took a probe, gave it back, removed it")
    state: State = "fail" if abs(skew) > s3.MAX_SKEW_S else "warn" if abs(skew) > LOW_SKEW_S else "ok"
    yield Check("clock", state, f"{skew:+.0f} s against the store (it refuses from {s3.MAX_SKEW_S} s on)",
                "" if state == "ok" else "timedatectl set-ntp true")  # fmt: skip


def _folder(folder: Path) -> Check:
    """A remote that is a folder: it takes a probe, gives it back and drops it."""
    probe = folder / f".explicitlm-probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(s3.PROBE)
        whole = probe.read_bytes() == s3.PROBE
        probe.unlink()
    except OSError as error:
        return Check("remote", "fail", f"{folder}: {error.strerror}", f"df -h {folder}; ls -ld {folder}")
    if not whole:
        return Check("remote", "fail", f"{folder} gave back other bytes than were written", "use another disk")
    return Check("remote", "ok", f"{folder} took a probe, gave it back, removed it")


def _parameters(project: Project) -> Iterator[Check]:
    params = project.params()
    yield Check("params.yaml", "ok", f"valid, {len(type(params.train).model_fields)} hyperparameters")
    resolve(project, params.revisions)
    yield Check(
        "data revisions",
        "ok",
        ", ".join(f"{k}={v}" for k, v in params.revisions.items() if v) or "all current",
    )


def _data(project: Project) -> Iterator[Check]:
    for dataset in DATASETS:
        path = project.tree / dataset.pointer
        if not path.exists():
            if dataset.required:
                yield Check(dataset.path, "fail", f"{dataset.pointer} is missing", f"dvc add {dataset.path}")
            continue
        pointer = parse_pointer(path.read_text(encoding="utf-8", errors="replace"), dataset.pointer)
        folder = project.tree / dataset.path
        listing = scan(folder)
        if listing is None:
            yield Check(dataset.path, "warn", f"version {pointer.md5[:8]} is not laid out here",
                        f"dvc pull {dataset.pointer} (the sample: explicitlm sample-data)")  # fmt: skip
        elif not fits(listing, pointer):
            yield Check(
                dataset.path,
                "fail",
                f"is not version {pointer.md5[:8]} ({listing.nfiles} files, {listing.size} bytes)",
                f"dvc add {dataset.path} to keep the change, dvc checkout --force {dataset.pointer} to drop it",
            )
        elif not os.access(folder, os.R_OK | os.X_OK):
            yield Check(dataset.path, "fail", "cannot be read", f"chmod -R u+rX {dataset.path}")
        else:
            yield Check(
                dataset.path,
                "ok",
                f"version {pointer.md5[:8]}, {listing.nfiles} files, {listing.size / 1e6:.1f} MB",
            )


def _disk(project: Project) -> Iterator[Check]:
    free = shutil.disk_usage(project.main).free / 1e9
    enough = free >= LOW_DISK_GB
    yield Check(
        "disk",
        "ok" if enough else "warn",
        f"{free:.1f} GB free",
        "" if enough else "dvc gc --workspace --all-tags",
    )
    if not os.access(project.main, os.W_OK):
        yield Check("project folder", "fail", f"{project.main} cannot be written", f"chmod u+w {project.main}")


def _environment(project: Project) -> Iterator[Check]:
    python = shutil.which("python")
    mine = Path(sys.executable).resolve()
    if python is None or not _imports(python):
        yield Check("python", "fail", f"`python` of the shell is {python or 'missing'}, without this project",
                    f"source {mine.parent if python is None else Path(sys.prefix) / 'bin'}/activate")  # fmt: skip
    else:
        yield Check("python", "ok", f"{sys.version.split()[0]} at {python}")
    wrong = [line for line in _pins(project.tree / "requirements.lock") if not _installed(line)]
    if wrong:
        yield Check("packages", "warn", f"not as in requirements.lock: {', '.join(wrong[:5])}", "make env")
    else:
        yield Check("packages", "ok", "as in requirements.lock")


def _logs(project: Project) -> Iterator[Check]:
    logs = sorted((project.main / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
    yield Check("logs", "ok", f"last: logs/{logs[-1].name}" if logs else "none yet")


def _imports(python: str) -> bool:
    done = subprocess.run([python, "-c", "import explicitlm, dvc, accelerate"], capture_output=True)
    return done.returncode == 0


def _pins(lock: Path) -> list[str]:
    """`name==version` of the pins that hold for this interpreter."""
    from packaging.requirements import Requirement

    if not lock.exists():
        return []
    lines = (line.split("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines())
    requirements = (Requirement(line) for line in lines if line and not line.startswith("-"))
    return [f"{item.name}{item.specifier}" for item in requirements if item.marker is None or item.marker.evaluate()]


def _installed(pin: str) -> bool:
    name, _, version = pin.partition("==")
    try:
        return metadata.version(name).split("+")[0] == version  # torch's build says 2.13.0+cpu
    except metadata.PackageNotFoundError:
        return False
