"""`explicitlm doctor`: a check list, each line with the command that repairs it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from explicitlm.common.aside import put_aside, put_away
from explicitlm.common.errors import ExplicitLMError, UsageError, remedy
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.scan import fits, scan
from explicitlm.datasets.table import DATASETS, Dataset
from explicitlm.pipeline import preflight
from explicitlm.pipeline.identity import NOT_CODE
from explicitlm.pipeline.params import read_params
from explicitlm.pipeline.readable import check_readable
from explicitlm.records import restore
from explicitlm.vcs import isolated, s3
from explicitlm.vcs.data_store import remote_of
from explicitlm.vcs.pointer import parse_pointer
from explicitlm.vcs.workspace import Workspace

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
    workspace = Workspace.find()
    checks: list[Callable[[Workspace], Iterator[Check]]] = [
        _git,
        _dvc,
        _isolated,
        _remote,
        _parameters,
        _data,
        _formats,
        _disk,
        _environment,
        _logs,
    ]
    found = []
    for check in checks:
        try:
            found += list(check(workspace))
        except ExplicitLMError as error:
            found.append(Check(check.__name__.strip("_"), "fail", error.cause, error.hint))
    return found


def _git(workspace: Workspace) -> Iterator[Check]:
    git = workspace.git
    yield Check("git", "ok", f"{git.branch() or 'detached HEAD'} at {git.head[:8]}")
    try:
        workspace.check_committable()
    except UsageError as error:
        yield Check("publishing", "warn", error.cause, error.hint)
    changed, untracked = (
        git.changed(NOT_CODE),
        [name for name in git.untracked(NOT_CODE) if name.endswith(".py")],
    )
    if changed or untracked:
        files = shlex.join([*changed, *untracked])
        yield Check("code", "warn", f"uncommitted: {', '.join([*changed, *untracked])}",
                    f"git add -- {files} && git commit -m 'work in progress' -- {files}")  # fmt: skip
    else:
        yield Check("code", "ok", "committed")
    if gone := restore.taken_away(git):
        yield Check("records", "warn", f"dvc exp apply has taken away what HEAD has: {', '.join(gone)}",
                    f"git checkout HEAD -- {shlex.join(gone)}")  # fmt: skip
    if git.is_shallow():
        yield Check(
            "history",
            "warn",
            "shallow clone: older data versions cannot be named",
            "git fetch --unshallow --tags",
        )


def _dvc(workspace: Workspace) -> Iterator[Check]:
    remote = remote_of(workspace.main)
    if remote is None:
        yield Check("dvc", "fail", "no default remote", "explicitlm remote local")
    else:
        yield Check("dvc", "ok", f"default remote {remote.place}")
    yield Check("cache", "ok", str(preflight.check_cache(workspace)))


def _isolated(workspace: Workspace) -> Iterator[Check]:
    for each in isolated.not_ascii(workspace.main):
        yield Check("isolated runs", "warn", each.cause, each.hint)


def _remote(workspace: Workspace) -> Iterator[Check]:
    remote = remote_of(workspace.main)
    if remote is None:
        return
    if remote.folder is not None:
        yield _folder(remote.folder)
        return
    preflight.check_remote(workspace)
    if not remote.is_s3:
        yield Check("remote", "warn", f"{remote.place} was not probed: DVC has its plug-in, `dvc push` will tell more")
        return
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
        return Check("remote", "fail", f"{folder}: {error.strerror}", remedy(error))
    if not whole:
        return Check("remote", "fail", f"{folder} gave back other bytes than were written", "use another disk")
    return Check("remote", "ok", f"{folder} took a probe, gave it back, removed it")


def _parameters(workspace: Workspace) -> Iterator[Check]:
    params = read_params(workspace)
    yield Check("params.yaml", "ok", f"valid, {len(params.train.__struct_fields__)} hyperparameters")
    preflight.check_pointers(workspace, resolve(workspace, params.revisions))
    yield Check(
        "data revisions",
        "ok",
        ", ".join(f"{k}={v}" for k, v in params.revisions.items() if v) or "all current",
    )


def _data(workspace: Workspace) -> Iterator[Check]:
    for dataset in DATASETS:
        path = workspace.workdir / dataset.pointer
        if not path.exists():
            if dataset.required:
                committed = workspace.git.read("HEAD", dataset.pointer) is not None
                yield Check(dataset.path, "fail", f"{dataset.pointer} is missing",
                            f"git restore --source=HEAD -- {dataset.pointer}" if committed
                            else f"put your files into {dataset.path}, then: dvc add {dataset.path}")  # fmt: skip
            continue
        pointer = parse_pointer(path.read_text(encoding="utf-8", errors="replace"), dataset.pointer, dataset.folder)
        folder = workspace.workdir / dataset.path
        listing = scan(folder)
        if listing is None:
            yield Check(dataset.path, "warn", f"version {pointer.md5[:8]} is not checked out here",
                        f"dvc pull {dataset.pointer} (the sample: explicitlm sample-data)")  # fmt: skip
        elif not fits(listing, pointer):
            yield Check(
                dataset.path,
                "fail",
                f"is not version {pointer.md5[:8]} ({listing.nfiles} files, {listing.size} bytes)",
                f"dvc add {dataset.path} to keep the change, or put it aside: "
                f"{put_aside(dataset.path, workspace.workdir)} && dvc checkout {dataset.pointer}",
            )
        elif not os.access(folder, os.R_OK | os.X_OK):
            yield Check(dataset.path, "fail", "cannot be read", f"chmod -R u+rX {dataset.path}")
        else:
            yield Check(
                dataset.path,
                "ok",
                f"version {pointer.md5[:8]}, {listing.nfiles} files, {listing.size / 1e6:.1f} MB",
            )
        if listing is not None and listing.skipped:
            yield Check(dataset.path, "warn", f"in no version: {', '.join(listing.skipped)}",
                        _kept(workspace, dataset, listing.skipped[0].rstrip("/")))  # fmt: skip


def _kept(workspace: Workspace, dataset: Dataset, name: str) -> str:
    """How what DVC leaves out gets into a version: a copy of what a link leads to; a file once nothing hides it."""
    path = f"{dataset.path}/{name}"
    if not (workspace.workdir / path).is_symlink():
        return "take its name out of .dvcignore, if it is to be in one"
    copy = shlex.join(["cp", "-rL", path, f"{path}.copy"])
    return f"to have it in one: {copy} && {put_away(path, workspace.workdir)} && dvc add {dataset.path}"


def _formats(workspace: Workspace) -> Iterator[Check]:
    """Whether a training can read the versions that lie here; what keeps them from being known has its own line."""
    try:
        params = read_params(workspace)
        plans = resolve(workspace, params.revisions)
    except ExplicitLMError:
        return
    for plan in plans:
        listing = scan(workspace.workdir / plan.dataset.path)
        if plan.target is None or plan.target != plan.current or listing is None or not fits(listing, plan.target):
            continue
        try:
            check_readable(workspace, [plan], params.train)
        except ExplicitLMError as error:
            yield Check(f"format of {plan.dataset.path}", "fail", error.cause, error.hint)
        else:
            yield Check(f"format of {plan.dataset.path}", "ok", "a training can read it")


def _disk(workspace: Workspace) -> Iterator[Check]:
    free = shutil.disk_usage(workspace.main).free / 1e9
    enough = free >= LOW_DISK_GB
    yield Check(
        "disk",
        "ok" if enough else "warn",
        f"{free:.1f} GB free",
        "" if enough else "explicitlm archive --dry",
    )
    if not os.access(workspace.main, os.W_OK):
        yield Check("project folder", "fail", f"{workspace.main} cannot be written", f"chmod u+w {workspace.main}")


def _environment(workspace: Workspace) -> Iterator[Check]:
    python = shutil.which("python")
    mine = Path(sys.executable).resolve()
    if python is None or not _imports(python):
        yield Check("python", "fail", f"`python` of the shell is {python or 'missing'}, without this project",
                    f"source {mine.parent if python is None else Path(sys.prefix) / 'bin'}/activate")  # fmt: skip
    else:
        yield Check("python", "ok", f"{sys.version.split()[0]} at {python}")
    wrong = [line for line in _pins(workspace.workdir / "requirements.lock") if not _installed(line)]
    if wrong:
        yield Check("packages", "warn", f"not as in requirements.lock: {', '.join(wrong[:5])}", "make env")
    else:
        yield Check("packages", "ok", "as in requirements.lock")


def _logs(workspace: Workspace) -> Iterator[Check]:
    logs = sorted((workspace.main / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
    yield Check("logs", "ok", f"last: logs/{logs[-1].name}" if logs else "none yet")


def _imports(python: str) -> bool:
    """Whether that Python has what a stage imports; it is only looked for, since accelerate brings torch: 1.5 s."""
    look = "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))"
    done = subprocess.run([python, "-c", look, "explicitlm", "dvc", "accelerate"], capture_output=True)
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
