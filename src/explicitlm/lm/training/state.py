"""Resume states: everything a run needs to go on as if nothing had happened, at any micro-batch.

A state is a folder `step-<optimizer steps>-<micro-batches of the next>` with the weights, the optimizer, one
file a process (generators, accumulated gradients, bank queries, loss sums) and copies of the metrics files.
It is written under another name, synced to disk and renamed: a killed process leaves no half state. Each
file's SHA-256 stands in state.json, so a state that the disk has damaged is skipped for the one before.
Training goes on while a thread writes: it waits only while the state is copied in memory.

accelerate's save_state is not used: it saves between optimizer steps only, knows neither accumulated gradients nor bank
queries, and its folders are neither renamed into place nor checked when they are read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file as save_tensors

from explicitlm.common.errors import ExplicitLMError, UsageError
from explicitlm.common.files import read_json, to_json
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.training.checkpoint import replace_folder, sync_file, weight_settings, write_synced
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
        saved = {**weight_settings(TrainConfig()), **other["settings"]}  # older code had what is the default now
        names = sorted(set(saved) | set(self.settings))
        found = [
            f"{name} was {saved.get(name)!r}, is {self.settings.get(name)!r}"
            for name in names
            if saved.get(name) != self.settings.get(name)
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


@dataclass
class SavingCost:
    """What saving has cost this process: states; seconds that training was held up; seconds of writing beside it."""

    states: int = 0
    held_s: float = 0.0
    written_s: float = 0.0


@dataclass(frozen=True)
class _Moment:
    """A state in memory, nothing of which training will change. own: pickled; metrics: files by name."""

    position: dict[str, Any]
    own: bytes
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    metrics: dict[str, bytes]


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
        self._writers = Group()  # the threads that write have messages of their own
        self._thread = ThreadPoolExecutor(1, "state")
        self._pending: Future[None] | None = None
        self.cost = SavingCost()

    def begin(self) -> None:
        """A run from the start: states of an earlier one are put aside, one generation of them."""
        if self._group.rank == 0 and _names(self._folder):
            backup = self._folder.with_name(f"{self._folder.name}.old")
            shutil.rmtree(backup, ignore_errors=True)
            self._folder.rename(backup)
            logger.info(f"a new run from the start: the earlier states are now in {backup}")
        self._group.barrier()

    def save(
        self,
        position: Mapping[str, Any],
        weights: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> None:
        """Takes a copy of a state, lets a thread write it and remove all but the newest `KEPT`. Collective.

        Training waits for the copy only, and for the state before this one if that is not written yet.

        Args:
            position: counters and texts; `step` and `micro` name the state.
            weights: the model's tensors, needed of the first process only.
            optimizer: its state, likewise.
            own: what each process has for itself.
        """
        start = time.perf_counter()
        self._join()
        first = self._group.rank == 0
        moment = _Moment(
            position=dict(position),
            own=_pickled(dict(own)),
            weights=_on_cpu(dict(weights)) if first else {},
            optimizer=_on_cpu(dict(optimizer)) if first else {},
            metrics=self._read_metrics() if first else {},
        )
        self._pending = self._thread.submit(self._write, moment)
        self.cost.held_s += time.perf_counter() - start

    def settle(self) -> None:
        """Waits until the last state that was saved is on the disk. Collective.

        Raises:
            OSError: it could not be written.
        """
        start = time.perf_counter()
        self._join()
        self.cost.held_s += time.perf_counter() - start

    def _join(self) -> None:
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def _read_metrics(self) -> dict[str, bytes]:
        paths = [self._metrics / name for name in METRICS]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def _write(self, moment: _Moment) -> None:
        """In the thread of each process: its own part, and on the first one the rest and the rename."""
        start = time.perf_counter()
        group, position = self._writers, moment.position
        name = f"step-{position['step']:08d}-{position['micro']:06d}"
        temporary = self._folder / f".{name}.tmp"
        if group.rank == 0:
            for leftover in self._folder.glob(".step-*.tmp"):  # of processes that were killed while they wrote
                shutil.rmtree(leftover, ignore_errors=True)
            temporary.mkdir(parents=True)
        group.barrier()
        write_synced(temporary / f"rank-{group.rank}.pt", moment.own)
        group.barrier()
        if group.rank == 0:
            save_tensors(moment.weights, temporary / WEIGHTS)
            sync_file(temporary / WEIGHTS)
            write_synced(temporary / OPTIMIZER, _pickled(moment.optimizer))
            for metrics, content in moment.metrics.items():
                write_synced(temporary / metrics, content)
            files = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
            description = {**asdict(self._identity), "position": position, "files": files}
            write_synced(temporary / DESCRIPTION, to_json(description).encode())
            replace_folder(temporary, self._folder / name)
            for old in _names(self._folder)[:-KEPT]:
                shutil.rmtree(self._folder / old)
        self.cost.states += 1
        self.cost.written_s += time.perf_counter() - start

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
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _on_cpu(value: Any) -> Any:
    """A copy of nested containers of tensors, in the CPU's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(item) for item in value)
    return value


def _pickled(value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpickled(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    return value
