"""Resume states: everything a run needs to go on as if nothing had happened, at any micro-batch.

A state is a folder `step-<optimizer steps>-<micro-batches of the next>` with the weights, the optimizer, one
file a process (generators, accumulated gradients, bank queries, loss sums) and copies of the metrics files.
It is written under another name, synced to disk and renamed: a killed process leaves no half state. Each
file's SHA-256 stands in state.json, so a state that the disk has damaged is skipped for the one before.

accelerate's save_state is not used: it saves between optimizer steps only, knows neither accumulated gradients nor bank
queries, and its folders are neither renamed into place nor checked when they are read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from explicitlm.common.errors import ExplicitLMError, UsageError
from explicitlm.common.files import read_json, to_json
from explicitlm.lm.training.checkpoint import replace_folder, write_synced
from explicitlm.lm.training.group import Group

logger = logging.getLogger(__name__)

KEPT = 2  # the newest, and one to fall back on
DESCRIPTION, WEIGHTS, OPTIMIZER = "state.json", "model.safetensors", "optimizer.pt"
METRICS = ("train.csv", "val.csv", "digests.csv")


@dataclass(frozen=True)
class Identity:
    """What a state belongs to; a run of another identity cannot continue it.

    settings: hyperparameters that the weights depend on; data: digest of the run_data; world_size: processes.
    """

    settings: dict[str, Any]
    data: str
    world_size: int

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What is not as in the description of a state, in words."""
        theirs = other["settings"]
        names = sorted(set(theirs) | set(self.settings))
        found = [
            f"{name} was {theirs.get(name)!r}, is {self.settings.get(name)!r}"
            for name in names
            if theirs.get(name) != self.settings.get(name)
        ]
        if other["world_size"] != self.world_size:
            found.append(f"it had {other['world_size']} processes, now {self.world_size}")
        if not found and other["data"] != self.data:
            found.append("the data has changed")
        return found


@dataclass(frozen=True)
class State:
    """One saved moment. position: the loop's counters; own: this process's part."""

    position: dict[str, Any]
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    own: dict[str, Any]


class StateStore:
    """The states of one run.

    Args:
        folder: where they lie; never inside an out of DVC, which is deleted before a run.
        metrics: folder whose METRICS are copied along and put back.
        identity: of this run.
        group: all its processes.
    """

    def __init__(self, folder: Path, metrics: Path, identity: Identity, group: Group) -> None:
        self._folder, self._metrics = folder, metrics
        self._identity, self._group = identity, group

    def begin(self) -> None:
        """A run from the start: states of an earlier one are put aside, one generation of them."""
        if self._group.rank == 0 and _names(self._folder):
            aside = self._folder.with_name(f"{self._folder.name}.old")
            shutil.rmtree(aside, ignore_errors=True)
            self._folder.rename(aside)
            logger.info(f"a new run from the start: the earlier states are now in {aside}")
        self._group.barrier()

    def save(
        self,
        position: Mapping[str, Any],
        weights: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> None:
        """Writes a state and removes all but the newest `KEPT`. Collective.

        Args:
            position: counters and texts; `step` and `micro` name the state.
            weights: the model's tensors, needed of the first process only.
            optimizer: its state, likewise.
            own: what each process has for itself.
        """
        name = f"step-{position['step']:08d}-{position['micro']:06d}"
        temporary = self._folder / f".{name}.tmp"
        if self._group.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self._group.barrier()
        write_synced(temporary / f"rank-{self._group.rank}.pt", _pickled(dict(own)))
        self._group.barrier()
        if self._group.rank == 0:
            tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
            write_synced(temporary / WEIGHTS, save_tensors(tensors))
            write_synced(temporary / OPTIMIZER, _pickled(dict(optimizer)))
            for metrics in METRICS:
                if (self._metrics / metrics).exists():
                    write_synced(temporary / metrics, (self._metrics / metrics).read_bytes())
            files = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
            description = {**asdict(self._identity), "position": dict(position), "files": files}
            write_synced(temporary / DESCRIPTION, to_json(description).encode())
            replace_folder(temporary, self._folder / name)
            for old in _names(self._folder)[:-KEPT]:
                shutil.rmtree(self._folder / old)
        self._group.barrier()

    def load(self) -> State:
        """The newest undamaged state; the metrics files are put back to its moment. Collective.

        Raises:
            UsageError: there is none, or it belongs to another configuration, data or number of processes.
        """
        answer = self._group.broadcast(self._choose() if self._group.rank == 0 else None)
        if isinstance(answer, ExplicitLMError):
            raise answer
        folder = Path(answer)
        description = read_json(folder / DESCRIPTION, "start without --resume")
        if self._group.rank == 0:
            self._restore_metrics(folder)
        self._group.barrier()
        return State(
            position=description["position"],
            weights=load_tensors((folder / WEIGHTS).read_bytes()),
            optimizer=_unpickled(folder / OPTIMIZER),
            own=_unpickled(folder / f"rank-{self._group.rank}.pt"),
        )

    def _choose(self) -> str | ExplicitLMError:
        """The folder to continue from, or why there is none; an error is an answer, for all processes to raise."""
        for name in reversed(_names(self._folder)):
            folder = self._folder / name
            description = _sound(folder)
            if description is None:
                logger.info(f"state {folder} is damaged, taking the one before it")
                continue
            differences = self._identity.differences(description)
            if differences:
                return UsageError(
                    f"the state in {folder} belongs to another run: {'; '.join(differences)}",
                    "resume with the settings of that run, or start without --resume",
                )
            return str(folder)
        return UsageError(f"there is no state to resume in {self._folder}", "start without --resume")

    def _restore_metrics(self, folder: Path) -> None:
        self._metrics.mkdir(parents=True, exist_ok=True)
        for name in METRICS:
            if (folder / name).exists():
                write_synced(self._metrics / name, (folder / name).read_bytes())
            else:
                (self._metrics / name).unlink(missing_ok=True)


def _names(folder: Path) -> list[str]:
    """States in a folder, oldest first."""
    return sorted(path.name for path in folder.glob("step-*")) if folder.is_dir() else []


def _sound(folder: Path) -> dict[str, Any] | None:
    """A state's description, or None where any of its files is missing or altered."""
    try:
        description = read_json(folder / DESCRIPTION, "")
        files: dict[str, str] = description["files"]
        if all(_digest(folder / name) == digest for name, digest in files.items()):
            return description
    except (ExplicitLMError, OSError, KeyError, AttributeError):
        return None
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _pickled(value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpickled(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    return value
