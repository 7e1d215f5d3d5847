"""Seeds, deterministic kernels and the number of threads: what makes a run reproducible bit for bit."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import psutil
import torch


def set_up(seed: int, rank: int) -> None:
    """Seeds every generator and forbids kernels whose result varies from run to run.

    Must run before CUDA is used: cuBLAS reads its workspace setting once.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)  # warn_only=True would switch attention's deterministic backward off
    # writing NaN into every fresh tensor first costs 2 % of a step and guards nothing here
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(thread_count())
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed)


def seed_noise(seed: int, rank: int) -> None:
    """After equal weights were drawn on all ranks: each rank's own stream for dropout."""
    torch.manual_seed(seed * 1_000_003 + rank)


def thread_count() -> int:
    """CPU threads of this process: EXPLICITLM_NUM_THREADS, or OMP_NUM_THREADS, or an even share of the cores.

    `accelerate launch` sets OMP_NUM_THREADS=1 where nothing is configured, so under it 1 means "not set".
    """
    setting = os.environ.get("EXPLICITLM_NUM_THREADS")
    if setting is None and ("ACCELERATE_MIXED_PRECISION" not in os.environ or os.environ.get("OMP_NUM_THREADS") != "1"):
        setting = os.environ.get("OMP_NUM_THREADS")
    if setting is not None and setting.isdigit() and int(setting) > 0:
        return int(setting)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(usable, psutil.cpu_count(logical=False) or usable)
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def rng_state() -> dict[str, Any]:
    """State of every generator of this process, as tensors, numbers and tuples."""
    name, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), place, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Continues every generator where `rng_state` was taken."""
    random.setstate(state["python"])
    name, keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), place, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
