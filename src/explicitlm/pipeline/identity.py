"""What an experiment is called, how it was started, and which code it runs."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import psutil

from explicitlm.common import layout
from explicitlm.common.aside import put_away
from explicitlm.common.errors import UsageError
from explicitlm.common.files import sha256
from explicitlm.common.ids import RESERVED, RULE, is_id
from explicitlm.records.manifest import CodeVersion
from explicitlm.vcs.workspace import Workspace

# Not code: inputs and outputs that have versions of their own, and what DVC stages while it starts an experiment.
NOT_CODE = ("data", "checkpoints", "experiments", "logs", "params.yaml", "dvc.lock", ".dvc/tmp")


def generated_id() -> str:
    """An id for a run that was given none."""
    return datetime.now(timezone.utc).strftime("exp_%Y%m%d_%H%M%S_") + os.urandom(2).hex()


def check_id(experiment: str, workspace: Workspace) -> None:
    """Checks that an id can name a new experiment of this workspace.

    Raises:
        UsageError: its form is not a name for a tag and files; it is used, by a record, a tag, a branch or an
            experiment, or differs from a used one in upper and lower case only; or it was interrupted and can go on.
    """
    git, main = workspace.git, workspace.main
    if not is_id(experiment) or not git.valid_name(experiment):
        raise UsageError(
            f"{experiment!r} cannot be an experiment id ({RULE}; not {', '.join(sorted(RESERVED))})",
            "choose another id, such as exp_003",
        )
    choose = "choose another id (the used ones: ls experiments/records; git tag; dvc exp list -A)"
    _check_references(experiment, workspace, choose)
    record = layout.record(experiment)
    committed = git.read("HEAD", record)
    if workspace.has_states(experiment) and (committed is None or not _is_finished(committed)):
        raise UsageError(f"{experiment} is used: a run of that id was interrupted and left a state to continue from",
                         f"explicitlm run {experiment} --resume; "
                         f"to give it up: {put_away(layout.run_dir(experiment), main)}"
                         )  # fmt: skip
    if committed is not None and _is_finished(committed) and not git.is_held():  # DVC was killed before it named it
        raise UsageError(f"{experiment} is used: {record} is in the commit that HEAD alone holds",
                         f"explicitlm publish {experiment}, if that is the one; else {choose}")  # fmt: skip
    if committed is not None:
        raise UsageError(f"{experiment} is used: {record} exists, committed", choose)
    if (main / record).exists():
        raise UsageError(f"{experiment} is used: {record} exists, left by an earlier run", _left(main, record, choose))
    prepared = main / layout.cluster_tree(experiment)
    if prepared.exists() and prepared.resolve() != Path.cwd():
        raise UsageError(f"{experiment} is used: it is prepared for the cluster ({prepared})",
                         f"{choose}; what it waits for: explicitlm cluster list")  # fmt: skip


def _left(main: Path, record: str, choose: str) -> str:
    """What to do about a record in no commit; that of a finished run which DVC had not kept yet can be published."""
    experiment = Path(record).stem
    otherwise = f"{choose}; or put it aside: {put_away(record, main)}"
    if _is_finished((main / record).read_bytes()):
        return f"explicitlm publish {experiment}, if that is the one; else {otherwise}"
    if (main / layout.run_dir(experiment) / "manifest.json").exists():
        return f"explicitlm run {experiment} --resume begins it again as it was; {otherwise}"
    return otherwise


def _is_finished(record: str | bytes) -> bool:
    """Whether a record, of whatever content, says that its training has weights."""
    try:
        content = json.loads(record)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("status") == "finished"


def _check_references(experiment: str, workspace: Workspace, choose: str) -> None:
    git, used = workspace.git, workspace.git.names_in_use()
    record, publish = layout.record(experiment), f"explicitlm publish {experiment}, if that is the one; else "
    if experiment in used.tags:
        ours = git.read(f"refs/tags/{experiment}", record) is not None  # which publishing again completes, if anything
        raise UsageError(f"{experiment} is used: there is a git tag of that name",
                         f"{publish if ours else ''}{choose}")  # fmt: skip
    if commits := used.experiments.get(experiment):
        raise UsageError(f"{experiment} is used by the DVC experiment {commits[0][:8]}",
                         f"{publish}{choose}; or free the name: dvc exp rename {experiment} {experiment}_old"
                         )  # fmt: skip
    if below := [tag for tag in used.tags if tag.startswith(f"{experiment}/")]:
        raise UsageError(f"{experiment} cannot become a tag: there is a git tag {below[0]}", choose)
    if experiment in used.branches:
        raise UsageError(f"{experiment} is the name of a branch: git would not know which of them is meant", choose)
    if commit := git.resolve(experiment):
        raise UsageError(f"{experiment} means the commit {commit[:8]} to git (by abbreviation?)", choose)
    if twin := _case_twin(experiment, workspace, {*used.tags, *used.experiments}):
        raise UsageError(f"{experiment} differs from {twin} in upper and lower case only: "
                         "on some disks they are one file", choose)  # fmt: skip


def _case_twin(experiment: str, workspace: Workspace, named: set[str]) -> str | None:
    """A used id, of those that git names or that left files, that is the same but for upper and lower case."""
    main = workspace.main
    used = named | {path.stem for path in (main / layout.RECORDS).glob("*.json")}
    for folder in (layout.RUNS, layout.CLUSTER):
        used |= {path.name for path in (main / folder).glob("*") if path.is_dir()}
    low = experiment.lower()
    return next((name for name in sorted(used) if name.lower() == low and name != experiment), None)


def started_by() -> str:
    """The command that started this stage as the user typed it, without folders: the outermost of its parents.

    `explicitlm run` starts `dvc exp run`, which starts the stage; a queue's worker is DVC's own affair.
    """
    command = ""
    for process in psutil.Process().parents():
        try:
            command = _user_command(process.cmdline()) or command
        except psutil.Error:
            continue
    return command or "python -m explicitlm.pipeline.sync_data"


def asked_params() -> set[str] | None:
    """Keys that the command which started this stage sets by -S; None for a queue's worker, which does not know."""
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            args = process.cmdline()
            if "queue-worker" in args or "exec-run" in args:
                return None
            if "exp" in args or "experiments" in args:
                return set_by(args)
            if any(Path(arg).name == "explicitlm" for arg in args):  # cluster pre
                keys = {arg.partition("=")[0] for arg in args if "=" in arg}
                return keys | ({"description"} if {"-m", "--message"} & set(args) else set())
    return set()


def set_by(args: list[str]) -> set[str]:
    """Keys of the parameters that a command line sets, in every form of the option."""
    asked = set()
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        if arg in ("-S", "--set-param"):
            pair = following
        elif arg.startswith("--set-param="):
            pair = arg.removeprefix("--set-param=")
        elif arg.startswith("-S"):
            pair = arg.removeprefix("-S").removeprefix("=")
        else:
            continue
        asked.add(pair.rpartition("params.yaml:")[2].partition("=")[0].lstrip("+~"))
    return asked


def _user_command(cmdline: list[str]) -> str:
    """A parent's command if it is one of ours or DVC's: `python /somewhere/dvc exp run` is told as `dvc exp run`."""
    for index, arg in enumerate(cmdline[:-1]):
        name, following = Path(arg).name, cmdline[index + 1 :]
        if name == "dvc" and following[0] in ("exp", "experiments", "repro", "queue"):
            internal = "exec-run" in following or "queue-worker" in following
            return "dvc queue start" if internal else shlex.join(["dvc", *following])
        if name == "explicitlm":
            return shlex.join(["explicitlm", *following])
    return ""


def code_version(workspace: Workspace) -> CodeVersion:
    """The code of the tree: its commit, what differs from it, and a digest of every file that train declares."""
    tree, main = workspace.workdir_git, workspace.git
    changed = tree.changed(NOT_CODE)
    untracked = [name for name in main.untracked(NOT_CODE) if Path(name).suffix in (".py", ".yaml", ".toml", ".sh")]
    # What train declares DVC puts into the experiment's commit, new files too; an isolated tree does not have them
    kept = [] if workspace.isolated else [name for name in untracked if _declared(name, workspace)]
    return CodeVersion(
        commit=tree.head,
        dirty=bool(changed or kept),
        changed=sorted([*changed, *kept]),
        diff_sha256=tree.diff_digest(NOT_CODE) if changed else None,
        untracked=[name for name in untracked if name not in kept],
        files=code_digests(workspace),
    )


def _declared(name: str, workspace: Workspace) -> bool:
    return any(name == dep or name.startswith(f"{dep}/") for dep in workspace.pipeline.deps("train"))


def code_digests(workspace: Workspace) -> dict[str, str]:
    """sha256 of every file that train declares and that is neither data nor handed on, by project-relative path."""
    found = {}
    for name in workspace.pipeline.deps("train"):
        if name.startswith(("data/", "experiments/")):
            continue
        path = workspace.workdir / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found[str(file.relative_to(workspace.workdir))] = sha256(file.read_bytes())
    return found
