"""Running means of the losses, kept on the device so that no step waits for it."""

from __future__ import annotations

import torch
from torch import Tensor

from explicitlm.lm.model import ModelOutput
from explicitlm.lm.training.group import Group

NAMES = (
    *("loss_total", "loss_ce", "loss_router", "loss_similarity", "loss_diversity"),
    *("avg_selected_similarity", "grad_norm"),
)


class Meter:
    """Sums over the optimizer steps since the last reading.

    Each micro-batch counts with its share of its step's targets, or labels for the router, so a reading is the mean
    over tokens that one process with the whole batch would see.
    """

    def __init__(self, device: torch.device) -> None:
        self._sum_K = torch.zeros(len(NAMES), dtype=torch.float64, device=device)
        self._steps = 0

    def add(self, output: ModelOutput, of_targets: float, of_labels: float) -> None:
        """Adds a micro-batch of this process that holds these shares of the step's targets and labels."""
        values = (
            output.loss_tokens * of_targets + output.loss_routing * of_labels,
            output.loss_ce * of_targets,
            output.loss_router * of_labels,
            output.loss_similarity * of_targets,
            output.loss_diversity * of_targets,
            output.avg_selected_similarity * of_targets,
        )
        self._sum_K[:-1] += torch.stack([value.detach().double() for value in values])

    def end_step(self, grad_norm: Tensor, world_size: int) -> None:
        """Counts a finished optimizer step; the norm is equal on all processes and counts once."""
        self._sum_K[-1] += grad_norm.detach().double() / world_size
        self._steps += 1

    def read(self, group: Group) -> dict[str, float]:
        """Means a step since the last reading, over all processes. Collective; waits for the device."""
        sum_K = group.sum(self._sum_K.cpu()) / max(self._steps, 1)
        self._sum_K.zero_()
        self._steps = 0
        return {f"train/{name}": float(value) for name, value in zip(NAMES, sum_K, strict=True)}

    def state_dict(self) -> dict[str, object]:
        """For a resumed run."""
        return {"sum": self._sum_K.cpu(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continues where `state_dict` was taken."""
        assert isinstance(state["sum"], Tensor) and isinstance(state["steps"], int)
        self._sum_K.copy_(state["sum"])
        self._steps = state["steps"]
