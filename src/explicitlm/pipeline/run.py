"""`explicitlm run`: checks first, then the experiment in isolation, then publish."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from explicitlm.common import layout
from explicitlm.common.aside import put_away
from explicitlm.common.environment import RESUME
from explicitlm.common.errors import ConfigError, ExplicitLMError, StorageError, TrainingError, UsageError, remedy
from explicitlm.common.ids import is_id
from explicitlm.datasets.table import NONE
from explicitlm.lm.typed import dump
from explicitlm.pipeline import identity, param_changes, preflight
from explicitlm.pipeline.params import Params, parse_params
from explicitlm.pipeline.supervise import PASSED_ON
from explicitlm.records import publish, store
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.records.schema import Record
from explicitlm.vcs import owners
from explicitlm.vcs.dvc import start_experiment
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import load_yaml

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked for over params.yaml; None keeps what that says.

    Attributes:
        description: the experiment's. assignments: `key=value`; `data.dataset=REV` pins a dataset.
        against: the id of its baseline. expect: a condition on the differences to it.
    """

    description: str | None
    assignments: list[str]
    against: str | None = None
    expect: str | None = None

    def overrides(self) -> dict[str, Any]:
        """All of it as one mapping of parameters.

        Raises:
            ConfigError: an assignment is not of its form.
        """
        texts = {"description": self.description, "against": self.against, "expect": self.expect}
        return parse_assignments(self.assignments) | {key: text for key, text in texts.items() if text is not None}


def run(workspace: Workspace, experiment: str, request: Request) -> Record:
    """Runs and publishes a new experiment.

    Raises:
        ExplicitLMError: before anything runs, for what can be known then; else what training or publishing said.
    """
    preflight.check_disk(workspace)  # before a claim is written there
    with owners.claim(workspace.main, experiment):
        overrides = param_changes.from_head(workspace, request.overrides())
        check(workspace, experiment, overrides)
        # Of an earlier try that left no state: what this one leaves must be its own.
        (workspace.run_dir(experiment) / "manifest.json").unlink(missing_ok=True)
        return _run_and_publish(workspace, experiment, overrides, {})


def check(workspace: Workspace, experiment: str, overrides: Mapping[str, Any]) -> None:
    """All checks of a new experiment that can be made before it runs.

    Raises:
        ExplicitLMError: what would make it fail, with what to do.
    """
    preflight.check(workspace, experiment, preview(workspace, overrides))


def resume(workspace: Workspace, experiment: str) -> Record:
    """Continues an interrupted or failed run from its last good state, with the parameters it was started with.

    One that left no state begins again.

    Raises:
        ExplicitLMError: there is nothing to continue, or what would make it fail, before anything runs.
    """
    if not is_id(experiment):
        identity.check_id(experiment, workspace)  # says why
    preflight.check_disk(workspace)
    with owners.claim(workspace.main, experiment):
        overrides = _interrupted(workspace, experiment)
        preflight.check_surroundings(workspace, preview(workspace, overrides))
        if not workspace.has_states(experiment):
            logger.info(f"{experiment} left no state to continue from: it begins again")
        return _run_and_publish(workspace, experiment, overrides, {RESUME: "1"})


def _interrupted(workspace: Workspace, experiment: str) -> dict[str, Any]:
    """The parameters of a run that was interrupted.

    Raises:
        UsageError: there was none, or it has finished.
    """
    run_dir = workspace.run_dir(experiment)
    if is_trained(workspace, experiment):
        raise UsageError(f"{experiment} is finished", f"explicitlm publish {experiment}")
    manifest = load_sealed(run_dir / "manifest.json", Manifest, f"explicitlm run {experiment} starts a new one")
    if manifest.id != experiment:
        raise UsageError(f"{run_dir / 'manifest.json'} is of {manifest.id}, not of {experiment}",
                         f"explicitlm run {experiment} starts a new one, after: "
                         f"{put_away(layout.run_dir(experiment), workspace.main)}")  # fmt: skip
    overrides: dict[str, Any] = {**dump(manifest.hyperparameters), "description": manifest.description}
    overrides |= manifest.asked_question
    for param, version in manifest.data.items():
        overrides[f"data.{param}"] = version.revision if version else NONE
    return overrides


def is_trained(workspace: Workspace, experiment: str) -> bool:
    """Whether its weights are kept: in a DVC experiment, or under a tag."""
    return bool(workspace.git.tag_commit(experiment) or workspace.git.experiments().get(experiment))


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`key=value` pairs with YAML 1.2 values.

    Raises:
        ConfigError: one is not of that form.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z_]+)?", key):
            raise ConfigError(f"{assignment!r} is not key=value", "explicitlm run exp_003 epochs=10 learning_rate=1e-4")
        is_text = key in ("description", "against", "expect") or key.startswith(
            "data."
        )  # a commit such as 12e4567 is not a number
        values[key] = text if is_text else load_yaml(f"value: {text}" if text else "value: ''", key)["value"]
    return values


def preview(workspace: Workspace, overrides: Mapping[str, Any]) -> Params:
    """The parameters as they will be.

    Raises:
        ConfigError: unknown key, wrong type, out of range.
    """
    values = load_yaml((workspace.workdir / layout.PARAMS).read_text(encoding="utf-8"), layout.PARAMS)
    for key, value in overrides.items():
        head, _, tail = key.partition(".")
        if head not in values or (tail and tail not in values[head]) or (not tail and isinstance(values[head], dict)):
            raise ConfigError(f"unknown parameter {key!r}", "the known ones: cat params.yaml")
        if tail:
            values[head][tail] = value
        else:
            values[key] = value
    return parse_params(values, "the command line")


def hydra(value: Any) -> str:
    """A value as `-S key=...` wants it: Hydra's grammar, in which text needs quotes and escapes.

    Backslashes count double before a quote, an interpolation, or the end.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if text == "???":  # OmegaConf's mark of a missing value
        raise ConfigError("'???' cannot be a value", "use other words")
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)
    text = re.sub(r'(\\*)"', lambda match: match[1] * 2 + '\\"', text)
    text = re.sub(r"(\\+)$", lambda match: match[1] * 2, text)
    return f'"{text}"'


def _run_and_publish(
    workspace: Workspace, experiment: str, overrides: Mapping[str, Any], environment: dict[str, str]
) -> Record:
    pairs = [f"{key}={hydra(value)}" for key, value in overrides.items()]
    branch = workspace.git.branch()
    _wait(start_experiment(workspace.main, experiment, pairs, environment))
    if not is_trained(workspace, experiment):  # whatever DVC says: on a full disk it ends well and keeps nothing
        raise _ended(workspace, experiment)
    if (now := workspace.git.branch()) != branch:
        logger.warning(f"the record goes to branch {now}; the run was started on {branch}")
    try:
        return publish.publish(workspace, experiment)
    except ExplicitLMError as error:
        raise type(error)(f"{experiment} is trained and kept, but not published yet: {error.cause}",
                          f"{error.hint}; then: explicitlm publish {experiment}") from None  # fmt: skip
    except OSError as error:  # of a remote that is a folder, and is none any more
        raise StorageError(f"{experiment} is trained and kept, but not published yet: {error}",
                           f"{remedy(error)}; then: explicitlm publish {experiment}") from None  # fmt: skip


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Waits for DVC; signals to this process end the run in its own order, as its stages understand them."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(psutil.Error):
            children = psutil.Process(process.pid).children(recursive=True)
            training = [child for child in children if _runs_stage(child, "train")]
            for child in training or [*children, psutil.Process(process.pid)]:
                with suppress(psutil.Error):
                    # The stage of the training saves first; DVC and the other stages know Ctrl-C alone.
                    child.send_signal(number if training else signal.SIGINT)

    forwarded = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores HUP
    earlier = {number: signal.signal(number, pass_on) for number in forwarded}
    try:
        process.wait()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _runs_stage(process: psutil.Process, stage: str) -> bool:
    with suppress(psutil.Error):  # it has just ended: the signal is for the others all the same
        args = process.cmdline()
        return f"explicitlm.pipeline.{stage}" in args and Path(args[0]).name.startswith("python")
    return False


def _ended(workspace: Workspace, experiment: str) -> TrainingError:
    """Why there is no experiment; a run that was killed before it could record anything is recorded now."""
    started = (workspace.run_dir(experiment) / "manifest.json").exists()
    if not started and not (workspace.main / layout.record(experiment)).exists():
        return TrainingError(f"{experiment} did not start (the reason is above)", "explicitlm doctor")
    record = publish.unfinished(workspace.main, experiment)
    store.save(workspace.main, record)
    return TrainingError(
        f"{experiment} {record.status} (log: {layout.log(experiment)}, record: {layout.record(experiment)})",
        f"explicitlm run {experiment} --resume; or explicitlm publish {experiment} keeps the record",
    )
