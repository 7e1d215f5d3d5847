"""The digest chain: every k optimizer steps a hash of what was seen, of the generators and of the weights.

Two runs that should be equal are compared row by row; the first row that differs says when they parted, and
its columns say whether data, randomness or arithmetic did. `chain` covers all rows before it. At the paper's
size (30 M parameters with their moments, 32 MB of bank, 520 MB of addresses) one row hashes about 0.9 GB, against
50 steps of seconds each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explicitlm.common.errors import TrainingError
from explicitlm.lm.training.determinism import rng_state
from explicitlm.lm.training.group import Group

NAME = "digests.csv"
HEADER = "step,batches,rng,optimizer,weights,bank,index,chain\n"


class DigestChain:
    """Follows a run and writes `digests.csv`.

    Args:
        path: the file; only the first process writes it.
        data: digest of the data, from which the batches' hash starts.
        settings: text of the configuration, with which the chain starts.
        group: of the run.
    """

    def __init__(self, path: Path, data: str, settings: str, group: Group) -> None:
        self._path, self._group = path, group
        self._batches, self._chain = data, _sha256(settings.encode())

    def start(self) -> None:
        """An empty file with the header."""
        if self._group.rank == 0:
            self._path.write_text(HEADER, encoding="utf-8")

    def add_sequences(self, sequences: NDArray[np.int64]) -> None:
        """Adds the sequences of one optimizer step, of all processes in order."""
        self._batches = _sha256(self._batches.encode(), sequences.astype("<i8").tobytes())

    @staticmethod
    def due(step: int, interval: int) -> bool:
        """Whether a link stands after `step` optimizer steps, other than the run's last."""
        return step % interval == 0 or (step < interval and step & (step - 1) == 0)

    def link(self, step: int, model: nn.Module, optimizer: Mapping[str, Any], index: Mapping[str, Tensor]) -> None:
        """Appends a row. Collective: the generators of all processes count, and their states must agree.

        Args:
            step: optimizer steps done.
            model: parameters are its weights, all other tensors of its state the bank.
            optimizer: the optimizer's state_dict.
            index: the addresses among which rows are searched: state of the bank that no checkpoint holds. Each process
                computes its own; the first one's count.

        Raises:
            TrainingError: the processes' weights, banks or optimizers have parted.
        """
        rng = _sha256("".join(self._group.gather(digest_rng())).encode())
        names = {name for name, _ in model.named_parameters()}
        state = model.state_dict()
        parts = (
            _digest_optimizer(optimizer),
            digest_tensors({name: tensor for name, tensor in state.items() if name in names}),
            digest_tensors({name: tensor for name, tensor in state.items() if name not in names}),
        )
        of_ranks = self._group.gather(",".join(part[:32] for part in parts))
        if len(set(of_ranks)) > 1:
            raise TrainingError(
                f"the processes' weights are no longer equal at step {step}",
                "run again; if it stays, one machine computes wrongly or differently",
            )
        if self._group.rank:
            return
        row = f"{step},{self._batches[:32]},{rng[:32]},{of_ranks[0]},{digest_tensors(index)[:32]}"
        self._chain = _sha256(self._chain.encode(), row.encode())
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(f"{row},{self._chain[:32]}\n")
            file.flush()
            os.fsync(file.fileno())

    def state_dict(self) -> dict[str, str]:
        """Where the chain stands."""
        return {"batches": self._batches, "chain": self._chain}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Continues the chain of an interrupted run."""
        self._batches, self._chain = state["batches"], state["chain"]


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, types, shapes and every byte, in the order of names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _digest_optimizer(state: Mapping[str, Any]) -> str:
    """Hex SHA-256 over the moments and counters of every parameter; not over settings, such as the rate."""
    values = {f"{index}.{key}": value for index, own in state["state"].items() for key, value in own.items()}
    return digest_tensors({name: torch.as_tensor(value) for name, value in values.items()})


def digest_rng() -> str:
    """Hex SHA-256 over the state of every generator of this process."""
    state = rng_state()
    total = hashlib.sha256(repr((state["python"], state["numpy"][2:])).encode())
    for tensor in (state["numpy"][1], state["torch"], state["cuda"]):
        if tensor is not None:
            total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
