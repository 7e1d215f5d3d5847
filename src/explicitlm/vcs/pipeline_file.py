"""dvc.yaml: which stages there are, what each depends on, and what it leaves."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import ConfigError
from explicitlm.vcs.yaml_file import load_yaml


class PipelineFile:
    """The dvc.yaml of a folder.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / layout.PIPELINE

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The stages by name, in the order of the file.

        Raises:
            ConfigError: the file is not a pipeline.
        """
        stages = load_yaml(self._path.read_text(encoding="utf-8"), layout.PIPELINE).get("stages")
        if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
            raise ConfigError(f"{self._path} holds no stages", f"git checkout -- {layout.PIPELINE}")
        return stages

    def deps(self, stage: str) -> list[str]:
        """What a stage declares as its inputs: code, data, handed-on files."""
        return list(self.stages[stage].get("deps", []))

    def outputs(self, stage: str) -> list[str]:
        """What a stage declares as its outs, metrics and plots."""
        entries = [entry for kind in ("outs", "metrics", "plots") for entry in self.stages[stage].get(kind, [])]
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
