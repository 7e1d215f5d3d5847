"""Stage 1, `python -m explicitlm.pipeline.sync_data`: settle what the experiment is made of, and seal it.

Checks the environment, settles the id, resolves each dataset's revision, switches the data to it in place, and writes
the manifest (times and names: nothing depends on it) and data.json (content hashes: train depends on it). Then the text
is tokenised, unless it was before: a GPU that has been asked for need not wait for it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from contextlib import suppress

from explicitlm.common import layout, logs
from explicitlm.common.clock import now
from explicitlm.common.environment import DVC_EXP_NAME, MESSAGE, RESUME
from explicitlm.common.errors import ConfigError, DataError, UsageError, run_reporting
from explicitlm.common.files import write_json
from explicitlm.common.interrupts import leave
from explicitlm.datasets.resolve import DatasetPlan, resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.pipeline import identity, param_changes
from explicitlm.pipeline.command import training_command
from explicitlm.pipeline.data_seen import DATA_SEEN, data_seen
from explicitlm.pipeline.params import Params, read_params
from explicitlm.pipeline.readable import check_readable
from explicitlm.pipeline.tokens import prepare_tokens
from explicitlm.records.manifest import DataVersion, Manifest, Question, load_sealed, save_sealed
from explicitlm.vcs import isolated, owners, workspace_run
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def main() -> int:
    """Runs the stage for the workdir in the current directory."""
    logs.set_up("[sync_data] ")
    workspace = Workspace.of_stage()
    params = _params(workspace)
    previous = _previous(workspace)
    resumed = bool(os.environ.get(RESUME))
    if named := os.environ.get(DVC_EXP_NAME):
        _own(workspace, named)  # before anything else of it is looked at: it may change while another one works on it
    experiment = settle_id(workspace, previous, resumed)
    asked = identity.asked_params()
    left = {} if asked is None else param_changes.leftovers(workspace, params, asked)
    if "description" not in (asked or ()) and not resumed:
        description = _description(workspace, params, experiment, queued=asked is None)
        params = dataclasses.replace(params, description=description)
        left.pop("description", None)
    logger.info(
        f"experiment {experiment}: {params.description.splitlines()[0] if params.description else '(no description)'}"
    )
    plans = _plans(workspace, params)
    bring(workspace, plans, check_untouched(workspace, plans))
    check_readable(workspace, plans, params.train)  # what cannot be read is told before anything is sealed
    unread = prepare_tokens(workspace, params.train, plans)
    data = {item.dataset.param: item.version for item in plans}
    manifest = Manifest(
        id=experiment,
        description=params.description,
        created_at=now(),
        started_by=_started_by(workspace, experiment, resumed),
        command=training_command(params.train),
        code=identity.code_version(workspace),
        data=data,
        unread_files=unread,
        hyperparameters=params.train,
        changed_params=param_changes.changed_params(workspace, params),
        asked_params=sorted(asked or ()),
        leftover_params=left,
        resumed=resumed,
        question=_question(workspace, params, {item.dataset.folder: item.version for item in plans}),
    )
    param_changes.log_changes(manifest, workspace)
    _warn(manifest)
    _warn_of_isolated_runs(workspace)
    seen = data_seen(workspace)
    save_sealed(workspace.workdir / layout.MANIFEST, manifest)
    # The run's own folder keeps a copy: it survives an isolated tree, and shows later what an interrupted run was.
    save_sealed(workspace.run_dir(experiment) / "manifest.json", manifest)
    write_json(workspace.run_dir(experiment) / DATA_SEEN, seen)
    write_json(
        workspace.workdir / layout.DATA_VERSIONS,
        {item.dataset.folder: item.target.md5 for item in plans if item.target},
    )
    return 0


def _warn_of_isolated_runs(workspace: Workspace) -> None:
    """Says here, where nothing hinders a run, what would keep the next one with --temp from starting."""
    if not workspace.isolated and isolated.may_be_hindered(workspace.main):
        for each in isolated.not_ascii(workspace.main):
            logger.warning(f"{each.cause}; next: {each.hint}")


def _started_by(workspace: Workspace, experiment: str, resumed: bool) -> str:
    """The command that started the experiment; of one that is resumed the first one, which has the parameters."""
    if resumed:
        with suppress(UsageError):
            return load_sealed(workspace.run_dir(experiment) / "manifest.json", Manifest, "").started_by
    return identity.started_by()


def _description(workspace: Workspace, params: Params, experiment: str, queued: bool) -> str:
    """EXPLICITLM_MESSAGE, else what params.yaml says, unless an earlier experiment left that there.

    Args:
        queued: a worker of DVC's queue does not know what the command asked for that queued this experiment, which may
            have been one of a sweep with one description: only what the last run in the workspace has left is not its.
    """
    if queued:
        earlier = param_changes.last_description(workspace, params, experiment)
    elif message := os.environ.get(MESSAGE):
        return message
    else:
        earlier = param_changes.description_source(workspace, params, experiment)
    if earlier:
        logger.warning(f"description: none; the one in params.yaml belongs to {earlier}")
        logger.warning(f"  next: {MESSAGE}='...' dvc exp run ... gives this experiment its own")
        return ""
    return params.description


def _own(workspace: Workspace, experiment: str) -> None:
    """Notes DVC as the one that works on this experiment, and in this checkout, until it ends."""
    runner = owners.runner()
    owners.join(workspace.main, experiment, runner)
    if not workspace.isolated:
        workspace_run.hold(workspace.main, runner)
        workspace_run.forget_removed_branch(workspace.main)


def _params(workspace: Workspace) -> Params:
    """The parameters; an error names the way back as well, since DVC leaves the values of -S in the workspace."""
    try:
        return read_params(workspace)
    except ConfigError as error:
        if workspace.isolated:
            raise
        raise ConfigError(
            error.cause, "git stash push -- params.yaml (DVC left the value there), then a correct -S"
        ) from None


def _plans(workspace: Workspace, params: Params) -> list[DatasetPlan]:
    """The versions to use; where a revision is refused the message names the file that still asks for it."""
    try:
        return resolve(workspace, params.revisions)
    except DataError as error:
        pins = [key for key in param_changes.changed_params(workspace, params) if key.startswith("data.")]
        if workspace.isolated or not pins:
            raise
        assignments = ", ".join(f"{key}={params.revisions[key.removeprefix('data.')]}" for key in pins)
        raise DataError(
            f"{error.cause}; {layout.PARAMS} goes on asking for {assignments} (DVC leaves the values of -S there)",
            f"git stash push -- {layout.PARAMS}, then a correct -S ({error.hint})",
        ) from None


def settle_id(workspace: Workspace, previous: Manifest | None, resumed: bool) -> str:
    """The id: DVC's name of the experiment, else that of an unrecorded manifest here, else a generated one.

    Raises:
        UsageError: the id is used.
    """
    named = os.environ.get(DVC_EXP_NAME)
    if named and resumed:
        return named
    if named:
        identity.check_id(named, workspace)
        return named
    if previous is not None:
        try:  # prepared but not recorded, as between two phases on a cluster: the same experiment goes on
            identity.check_id(previous.id, workspace)
            return previous.id
        except UsageError:
            pass
    return identity.generated_id()


def _question(workspace: Workspace, params: Params, data: dict[str, DataVersion | None]) -> Question | None:
    """What the experiment is compared with, as params.yaml says it, and what changes against that."""
    if not params.against and not params.expect:
        return None
    from explicitlm.records import question  # records cost 0.02 s, which most runs need not pay

    baseline = question.check(workspace.main, params.against, params.expect)
    if baseline is None:
        return None
    commit = workspace.git.tag_commit(params.against) or baseline.versions.code_commit
    code = workspace.git.differing(commit, layout.WEIGHT_CODE, workspace.workdir)
    hashes = {folder: version.md5 if version else None for folder, version in data.items()}
    return question.ask(baseline, params.expect, question.changes(baseline, params.train, hashes, code))


def _previous(workspace: Workspace) -> Manifest | None:
    try:
        return load_sealed(workspace.workdir / layout.MANIFEST, Manifest, "")
    except UsageError:
        return None  # none yet, or of another version of this project: it only spares work


def _warn(manifest: Manifest) -> None:
    code = manifest.code
    if asked := manifest.question:
        for change in asked.changes:
            logger.info(f"against {asked.against}: {change}")
        if len(asked.changes) > 1:
            logger.warning(f"{len(asked.changes)} changes against {asked.against}: "
                           "a difference cannot be told to come from one of them")  # fmt: skip
        if not asked.changes:
            logger.warning(f"nothing changes against {asked.against}")
    if code.dirty:
        logger.warning(f"uncommitted code, kept in the experiment's commit: {', '.join(code.changed)}")
    if code.untracked:
        logger.warning(f"untracked files, in no commit (git add what the training uses): {', '.join(code.untracked)}")
    for param, version in manifest.data.items():
        if version and version.uncommitted:
            logger.warning(f"{param} is an uncommitted version ({version.md5[:8]}), kept in the experiment's commit")


if __name__ == "__main__":
    leave(run_reporting(main))
