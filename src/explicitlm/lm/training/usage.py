"""What a training has used of its machine: time, memory, energy, and what its resume states have cost.

Nothing is guessed: what cannot be read is None. Energy is that of the GPUs which the first process sees, whole boards,
as NVML counts it; the CPU's is not known.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from explicitlm.lm.training.state import SavingCost


class Usage:
    """Counts from its making on."""

    def __init__(self) -> None:
        self._start, self._energy_j = time.monotonic(), _energy_joules()

    def read(self, tokens: int, saving: SavingCost) -> dict[str, Any]:
        """The numbers so far.

        Args:
            tokens: targets that this process's run has seen since it started or was resumed, over all processes.
            saving: of its resume states.
        """
        seconds = time.monotonic() - self._start
        energy_j = _energy_joules()
        known = energy_j is not None and self._energy_j is not None
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        return {
            "seconds": round(seconds, 3),
            "tokens": tokens,
            "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
            "peak_memory_bytes": _peak_memory(),
            "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
            "energy_joules": round(energy_j - self._energy_j, 1) if known else None,  # type: ignore[operator]
            "states_saved": saving.states,
            "states_held_s": round(saving.held_s, 3),
            "states_written_s": round(saving.written_s, 3),
        }


def _peak_memory() -> int | None:
    """Largest resident memory of this program so far, where Linux tells it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None


def _energy_joules() -> float | None:
    """What the counters of the visible GPUs show; None without GPU, NVML, or a board that counts."""
    if not torch.cuda.is_available():
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            names = [f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(torch.cuda.device_count())]
            handles = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]
            return float(sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles)) / 1000
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # NVML's errors are of many kinds, and none of them may end a training
        return None
