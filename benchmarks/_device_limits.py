"""What a device could do at most, and what a training step needs at least."""

from __future__ import annotations

import math

from explicitlm.lm.config import TrainConfig

# Dense bf16 FLOP/s (half of it for TF32) and bytes/s, from the makers' data sheets
PEAKS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.0e12),
    "L40S": (362e12, 0.86e12),
    "L4": (121e12, 0.3e12),
    "4090": (165e12, 1.0e12),
}


def peak_of(device_name: str) -> tuple[float, float] | None:
    """(FLOP/s, bytes/s) of a GPU by name, None for one that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in device_name), None)


def flops_per_token(config: TrainConfig, parameters: int) -> float:
    """6 * N_matmul + 12 * layers * D * S (training). The embedding multiplies as the head; norms do not."""
    norms = (2 * config.n_layers + 1) * config.dim
    return 6 * (parameters - norms) + 12 * config.n_layers * config.dim * config.max_seq_len


def bytes_per_token(config: TrainConfig, value_bytes: int) -> float:
    """Memory path, forward and twice as much for backward: C entry vectors written and read, C * L ids read."""
    if config.disable_memory:
        return 0.0
    vectors = 2 * config.num_candidates * config.dim * value_bytes
    keys = 2 * math.isqrt(config.knowledge_num) * value_bytes  # scores written and read once
    return 3.0 * config.n_layers * (vectors + keys + config.num_candidates * config.knowledge_length * 2)
