"""dvc.yaml and dvc.lock: which stages there are, what each depends on and leaves, and what DVC saw of them last."""

from __future__ import annotations

from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from explicitlm.common import layout
from explicitlm.common.errors import ConfigError
from explicitlm.vcs.yaml_file import load_yaml


class Locked(NamedTuple):
    """Hash, bytes and number of files of one input or out."""

    md5: str
    size: int | None
    nfiles: int | None


class PipelineFile:
    """The dvc.yaml of a folder.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / layout.PIPELINE
        self._lock = root / layout.PIPELINE_LOCK

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The stages by name, in the order of the file.

        Raises:
            ConfigError: the file is not a pipeline.
        """
        stages = load_yaml(self._path.read_text(encoding="utf-8"), layout.PIPELINE).get("stages")
        if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
            raise ConfigError(
                f"{self._path} holds no stages", f"put your changes aside: git stash push -- {layout.PIPELINE}"
            )
        return stages

    def before(self, stage: str) -> list[str]:
        """The stages that run before a stage: all that need nothing of what comes out of it, in an order that works."""
        return [name for name in self._order if name != stage and name not in self._after(stage)]

    def after(self, stage: str) -> list[str]:
        """The stages that need what comes out of a stage, directly or through others, in an order that works."""
        return [name for name in self._order if name in self._after(stage)]

    @cached_property
    def _order(self) -> list[str]:
        try:
            return list(TopologicalSorter({name: self._needs(name) for name in self.stages}).static_order())
        except CycleError as error:
            raise ConfigError(
                f"{self._path}: stages wait for each other: {' -> '.join(error.args[1])}",
                f"correct the deps and outs of one of them in {layout.PIPELINE}",
            ) from None

    def _after(self, stage: str) -> set[str]:
        found = {stage}
        for name in self._order:
            if any(needed in found for needed in self._needs(name)):
                found.add(name)
        return found - {stage}

    def _needs(self, stage: str) -> list[str]:
        """The stages that make a dependency of a stage, or a file within one, or a folder around one."""
        deps = [PurePosixPath(dep) for dep in self.deps(stage)]
        return [
            name
            for name in self.stages
            if name != stage
            and any(
                made.is_relative_to(dep) or dep.is_relative_to(made)
                for made in map(PurePosixPath, self.outputs(name))
                for dep in deps
            )
        ]

    def deps(self, stage: str) -> list[str]:
        """What a stage declares as its inputs: code, data, handed-on files."""
        return [dep if isinstance(dep, str) else next(iter(dep)) for dep in self.stages[stage].get("deps", [])]

    def outputs(self, stage: str) -> list[str]:
        """What a stage declares as its outs, metrics and plots."""
        entries = [entry for kind in ("outs", "metrics", "plots") for entry in self.stages[stage].get(kind, [])]
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]

    def locked(self, stage: str, kind: Literal["deps", "outs"]) -> dict[str, Locked]:
        """What DVC noted of a stage's inputs or outs when it last ran, by path; empty if it never ended well.

        DVC writes dvc.lock after each stage, so that a later stage of the same run finds the hashes there, at a
        hundredth of what asking `dvc exp show` costs. An entry without inputs is the one that git has for a fresh clone
        (docs/data.md), in which a plain `dvc pull` makes an empty folder of weights instead of failing.
        """
        try:
            text = self._lock.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        entry = (load_yaml(text, layout.PIPELINE_LOCK).get("stages") or {}).get(stage) or {}
        if "deps" not in entry:
            return {}
        return {
            item["path"]: Locked(item["md5"], item.get("size"), item.get("nfiles"))
            for item in entry.get(kind, [])
            if item.get("md5")
        }
