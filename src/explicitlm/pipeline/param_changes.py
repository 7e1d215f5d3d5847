"""Where the values in params.yaml come from: HEAD, this command, the user's hand, or an earlier experiment.

`dvc exp run -S seed=7` leaves seed=7 in params.yaml, and the next run of the workspace or of --temp has it too.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.lm.typed import dump
from explicitlm.pipeline.params import Params, read_params
from explicitlm.records.manifest import Manifest, load_sealed
from explicitlm.vcs.workspace import Workspace
from explicitlm.vcs.yaml_file import load_yaml

logger = logging.getLogger(__name__)
_TEXT_PARAMS = ("description", "against", "expect")  # they go into the record by themselves


def changed_params(workspace: Workspace, params: Params) -> dict[str, tuple[Any, Any]]:
    """Parameters whose value is not that of HEAD's params.yaml, as (HEAD's, ours); without the user's words."""
    before, now = _head(workspace), _flat(params)
    return {key: (before.get(key), value) for key, value in now.items()
            if key not in _TEXT_PARAMS and before.get(key) != value}  # fmt: skip


def leftovers(workspace: Workspace, params: Params, asked: set[str]) -> dict[str, str]:
    """Parameters that an earlier experiment left in params.yaml, by key: the experiment that they were asked for.

    Args:
        asked: keys that the present command sets itself.
    """
    try:
        last = load_sealed(workspace.main / layout.MANIFEST, Manifest, "")
    except UsageError:
        return {}  # nothing has run here, or it was another version of this project
    before, now = _head(workspace), _flat(params)
    previous = {**_flat_manifest(last), "description": last.description}
    candidates = {*last.asked_params, *last.leftover_params} - asked
    return {
        key: last.leftover_params.get(key, last.id)
        for key in sorted(candidates & now.keys())
        if now[key] == previous.get(key) and now[key] != before.get(key)
    }


def description_source(workspace: Workspace, params: Params, experiment: str) -> str | None:
    """The earlier experiment of this machine whose description stands in params.yaml; None if HEAD or nobody has it.

    Args:
        experiment: the id of the present one, whose own description it may be.
    """
    text = params.description
    if not text or text == _head(workspace).get("description", ""):
        return None
    for path in sorted(workspace.run_dir(experiment).parent.glob("*/manifest.json")):
        with suppress(UsageError):
            earlier = load_sealed(path, Manifest, "")
            if earlier.id != experiment and earlier.description == text:
                return earlier.id
    return None


def last_description(workspace: Workspace, params: Params, experiment: str) -> str | None:
    """The experiment that ran last in the workspace, if its description stands in params.yaml and not in HEAD's."""
    text = params.description
    with suppress(UsageError):
        last = load_sealed(workspace.main / layout.MANIFEST, Manifest, "")
        if text and last.id != experiment and last.description == text != _head(workspace).get("description", ""):
            return last.id
    return None


def from_head(workspace: Workspace, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides, and for what an earlier experiment left in params.yaml HEAD's values: hand edits stay."""
    left = leftovers(workspace, read_params(workspace), set(overrides))
    before = _head(workspace)
    for key, experiment in left.items():
        logger.info(f"parameter {key}: {before.get(key)!r}, as in HEAD (params.yaml still has that of {experiment})")
    return {**{key: before.get(key, "") for key in left}, **overrides}


def log_changes(manifest: Manifest, workspace: Workspace) -> None:
    """Says which parameters differ from HEAD's and why; loudly those that nobody asked for this time."""
    left = manifest.leftover_params
    for key, (before, value) in manifest.changed_params.items():
        if key not in left:
            why = "asked for" if key in manifest.asked_params else "changed in params.yaml"
            logger.info(f"parameter {key}: {value!r} ({why}; HEAD has {before!r})")
    if not left:
        return
    before, now = _head(workspace), {**_flat_manifest(manifest), "description": manifest.description}
    assignments = ", ".join(f"{key}={now.get(key)!r} (from {experiment})" for key, experiment in left.items())
    logger.warning(f"LEFT OVER from an earlier experiment, not asked for by this command: {assignments}")
    back = " ".join(f"-S {shlex.quote(f'{key}={_quoted(before.get(key))}')}" for key in left)
    logger.warning(f"  next: to run without them, add {back}")


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _head(workspace: Workspace) -> dict[str, Any]:
    return _params_at(workspace, workspace.workdir_git.head)


@cache
def _params_at(workspace: Workspace, commit: str) -> dict[str, Any]:
    """A commit's parameters; a stage asks for them three times."""
    text = workspace.workdir_git.read(commit, layout.PARAMS)
    values = load_yaml(text, f"HEAD:{layout.PARAMS}") if text else {}
    revisions = values.pop("data", None) or {}
    return values | {f"data.{key}": revision or "" for key, revision in revisions.items()}


def _flat(params: Params) -> dict[str, Any]:
    revisions = {f"data.{key}": revision for key, revision in params.revisions.items()}
    texts = {"description": params.description, "against": params.against, "expect": params.expect}
    return {**dump(params.train), **revisions, **texts}


def _flat_manifest(manifest: Manifest) -> dict[str, Any]:
    changed = {key: value for key, (_, value) in manifest.changed_params.items()}
    return {**dump(manifest.hyperparameters), **changed, **manifest.asked_question}
