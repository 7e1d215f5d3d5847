"""`explicitlm run`: checks first, then the experiment in isolation, then publish."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explicitlm.common import layout
from explicitlm.common.environment import RESUME
from explicitlm.common.errors import ConfigError, TrainingError, UsageError
from explicitlm.pipeline import param_changes, preflight
from explicitlm.pipeline.params import Params, parse_params
from explicitlm.records import publish, store
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.records.schema import Record
from explicitlm.vcs.dvc import experiment_run
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
        told = {"description": self.description, "against": self.against, "expect": self.expect}
        return parse_assignments(self.assignments) | {key: text for key, text in told.items() if text is not None}


def run(workspace: Workspace, experiment: str, request: Request) -> Record:
    """Runs and publishes a new experiment.

    Raises:
        ExplicitLMError: before anything runs, for what can be known then; else what training or publishing said.
    """
    overrides = param_changes.from_head(workspace, request.overrides())
    check(workspace, experiment, overrides)
    return _run_and_publish(workspace, experiment, overrides, {})


def check(workspace: Workspace, experiment: str, overrides: Mapping[str, Any]) -> None:
    """All checks of a new experiment that can be made before it runs.

    Raises:
        ExplicitLMError: what would make it fail, with what to do.
    """
    preflight.check(workspace, experiment, preview(workspace, overrides))


def resume(workspace: Workspace, experiment: str) -> Record:
    """Continues an interrupted or failed run from its last good state, with the parameters it was started with.

    Raises:
        UsageError: there is nothing to continue.
    """
    left = workspace.run_dir(experiment)
    manifest = load_sealed(left / "manifest.json", Manifest, f"explicitlm run {experiment} starts a new one")
    record = workspace.main / layout.record(experiment)
    if record.exists() and store.load(workspace.main, experiment).status == "finished":
        raise UsageError(f"{experiment} is finished", f"explicitlm publish {experiment}")
    if not workspace.has_states(experiment):
        raise UsageError(f"{experiment} left no state to continue from", "explicitlm run with a new id")
    overrides: dict[str, Any] = {**manifest.hyperparameters.model_dump(), "description": manifest.description}
    overrides |= manifest.asked_question
    for param, version in manifest.data.items():
        overrides[f"data.{param}"] = version.revision if version else ""
    return _run_and_publish(workspace, experiment, overrides, {RESUME: "1"})


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
    # Ctrl-C reaches DVC and the training on the same terminal; this process waits for their orderly end.
    earlier = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = experiment_run(workspace.main, experiment, pairs, environment)
    finally:
        signal.signal(signal.SIGINT, earlier)
    if code:
        raise _ended(workspace, experiment)
    return publish.publish(workspace, experiment)


def _ended(workspace: Workspace, experiment: str) -> TrainingError:
    path = workspace.main / layout.record(experiment)
    if not path.exists():
        return TrainingError(f"{experiment} did not start (DVC's message is above)", "explicitlm doctor")
    record = store.load(workspace.main, experiment)
    has_states = workspace.has_states(experiment)
    proceed = f"explicitlm run {experiment} --resume; or " if has_states else ""
    return TrainingError(
        f"{experiment} {record.status} (log: logs/{experiment}.log, record: {layout.record(experiment)})",
        f"{proceed}explicitlm publish {experiment} keeps the record",
    )
