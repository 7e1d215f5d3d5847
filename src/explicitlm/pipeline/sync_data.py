"""Stage 1, `python -m explicitlm.pipeline.sync_data`: settle what the experiment is made of, and seal it.

Checks the environment, settles the id, resolves each dataset's revision, brings the data to it in place, and writes
the manifest (times and names: nothing depends on it) and data.json (content hashes: train depends on it).
"""

from __future__ import annotations

import os
import sys
from typing import Any

from explicitlm.errors import ConfigError, UsageError, run_reporting
from explicitlm.files import write_json
from explicitlm.pipeline import identity
from explicitlm.pipeline.command import training_command
from explicitlm.pipeline.data_versions import resolve
from explicitlm.pipeline.switch import bring, check_untouched
from explicitlm.project import Params, Project, load_yaml
from explicitlm.records import handover
from explicitlm.records.handover import Manifest
from explicitlm.vcs.git import Repository

RESUME = "EXPLICITLM_RESUME"  # set by `explicitlm run --resume`: the id is that of an interrupted run


def main() -> int:
    """Runs the stage for the tree in the current directory."""
    project = Project.of_stage()
    params = _params(project)
    previous = _previous(project)
    resumed = bool(os.environ.get(RESUME))
    experiment = settle_id(project, previous, resumed)
    say(f"experiment {experiment}: {params.description.splitlines()[0] if params.description else '(no description)'}")
    wanted = resolve(project, params.revisions, _pins(previous))
    bring(project, wanted, check_untouched(project, wanted), say)
    manifest = Manifest(
        id=experiment,
        description=params.description,
        created_at=identity.now(),
        started_by=identity.started_by(),
        command=training_command(params.train),
        code=identity.code_version(project),
        data={item.dataset.param: item.version for item in wanted},
        hyperparameters=params.train,
        changed_params=changed_params(project, params),
        resumed=resumed,
    )
    _warn(manifest)
    handover.save(project.manifest, manifest)
    # The run's own folder keeps a copy: it survives an isolated tree, and tells later what an interrupted run was.
    handover.save(project.run_dir(experiment) / "manifest.json", manifest)
    write_json(project.data_versions, {item.dataset.folder: item.target.md5 for item in wanted if item.target})
    return 0


def _params(project: Project) -> Params:
    """The parameters; an error names the way back as well, since DVC leaves the values of -S in the workspace."""
    try:
        return project.params()
    except ConfigError as error:
        if project.isolated:
            raise
        raise ConfigError(error.cause, "git checkout -- params.yaml (DVC left it there), then a correct -S") from None


def say(line: str) -> None:
    """One plain line of progress."""
    print(f"[sync_data] {line}", flush=True)


def settle_id(project: Project, previous: Manifest | None, resumed: bool) -> str:
    """The id: DVC's name of the experiment, else that of an unrecorded manifest here, else a generated one.

    Raises:
        UsageError: the id is used.
    """
    named = os.environ.get("DVC_EXP_NAME")
    if named and resumed:
        return named
    if named:
        identity.check_id(named, project.main)
        return named
    if previous is not None:
        try:  # prepared but not recorded, as between two phases on a cluster: the same experiment goes on
            identity.check_id(previous.id, project.main)
            return previous.id
        except UsageError:
            pass
    return identity.generated_id()


def changed_params(project: Project, params: Params) -> dict[str, tuple[Any, Any]]:
    """Parameters whose value is not that of HEAD's params.yaml, as (HEAD's, ours); without the description."""
    text = Repository(project.tree).read("HEAD", "params.yaml")
    before = load_yaml(text, "HEAD:params.yaml") if text else {}
    ours: dict[str, Any] = {
        **params.train.model_dump(),
        **{f"data.{key}": rev for key, rev in params.revisions.items()},
    }
    revisions = before.pop("data", None) or {}
    before |= {f"data.{key}": revision or "" for key, revision in revisions.items()}
    return {key: (before.get(key), value) for key, value in ours.items() if before.get(key) != value}


def _previous(project: Project) -> Manifest | None:
    try:
        return handover.load(project.manifest, Manifest, "")
    except UsageError:
        return None  # none yet, or of another version of this project: it only spares work


def _pins(previous: Manifest | None) -> dict[str, str]:
    versions = previous.data.items() if previous else ()
    return {param: version.md5 for param, version in versions if version and version.revision}


def _warn(manifest: Manifest) -> None:
    code = manifest.code
    for key, (before, ours) in manifest.changed_params.items():
        say(f"parameter {key}: {ours!r} (HEAD has {before!r})")
    if code.dirty:
        say(f"WARNING: uncommitted code, kept in the experiment's commit: {', '.join(code.changed)}")
    if code.untracked:
        say(f"WARNING: untracked files, in no commit (git add what the training uses): {', '.join(code.untracked)}")
    for param, version in manifest.data.items():
        if version and version.uncommitted:
            say(f"WARNING: {param} is an uncommitted version ({version.md5[:8]}), kept in the experiment's commit")


if __name__ == "__main__":
    sys.exit(run_reporting(main))
