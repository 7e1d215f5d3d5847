"""What a run reports to the pipeline besides its results: files in its run folder, for whoever joins the record.

environment.json: machine and software. inputs.json: project files used. tracker.json: where the curves are.
knowledge.json: how many facts are not whole in the bank.
status.json: running, done, failed or interrupted, with the true exit code: `accelerate launch` hides it
(one process: any failure becomes 1), and Ctrl-C ends the launcher before its child has saved.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path
from typing import Any

import psutil
import torch

from explicitlm.common.files import write_json
from explicitlm.lm.config import TrainConfig


def environment(config: TrainConfig, world_size: int, device: torch.device) -> dict[str, Any]:
    """Everything about machine and software that can change a number."""
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    return {
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "cuda_version": torch.version.cuda if torch.cuda.is_available() else None,
        "num_gpus": gpus,
        "gpus": [torch.cuda.get_device_name(index) for index in range(gpus)],
        "device": device.type,
        "world_size": world_size,
        "precision": "bf16" if config.mixed_precision == "bf16" else "fp32",
        "num_threads": torch.get_num_threads(),
        "cores": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "driver": _driver(),
        "cpu": _cpu_model(),
        "platform": platform.platform(),
        "packages": _packages(),
        "distributions": _distributions(),
        "seed": config.seed,
    }


def _distributions() -> dict[str, str]:
    """Versions of everything installed; a damaged installation has no name and is left out."""
    found: dict[str, str] = {}
    for each in distributions():  # in the order of sys.path: of two versions the first one is imported
        if each.name:
            found.setdefault(each.name, each.version)
    return dict(sorted(found.items()))


def _driver() -> str | None:
    """The first line of what the NVIDIA kernel module says of itself; None without one."""
    path = Path("/proc/driver/nvidia/version")
    return path.read_text(encoding="utf-8").splitlines()[0] if path.exists() else None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _packages() -> dict[str, str]:
    """Versions of the project's direct dependencies."""
    versions = {}
    for requirement in requires("explicitlm") or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" not in requirement:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                continue  # not needed to train, such as dvc on a compute node
    return dict(sorted(versions.items()))


class StatusFile:
    """status.json of a run: written when it starts and when it ends.

    Args:
        run_dir: the run's folder.
        is_main: whether this is the first process.
    """

    def __init__(self, run_dir: Path, is_main: bool) -> None:
        self._path = run_dir / "status.json"
        self._is_main = is_main

    def write(self, status: str, exit_code: int | None, signal: str | None = None, error: str | None = None) -> None:
        """One of running, done, failed, interrupted; exit code and signal are the process's own."""
        if self._is_main:
            content = {"status": status, "exit_code": exit_code, "signal": signal, "error": error, "pid": os.getpid()}
            write_json(self._path, {**content, "command": sys.argv})
