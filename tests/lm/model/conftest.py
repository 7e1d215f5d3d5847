"""Every test starts from the same random state and runs with deterministic kernels only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from explicitlm.lm.config import TrainConfig


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def small() -> Callable[..., TrainConfig]:
    """A configuration of a few thousand parameters; keyword arguments replace its values."""

    def build(**values: Any) -> TrainConfig:
        base: dict[str, Any] = {
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "n_kv_heads": 2,
            "vocab_size": 300,
            "max_seq_len": 16,
            "knowledge_num": 256,
            "knowledge_length": 6,
            "knowledge_dim": 8,
            "num_candidates": 4,
        }
        return TrainConfig(**{**base, **values})

    return build


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Token ids and targets [2, 12] without padding (id 0)."""
    ids_BS = torch.randint(1, 300, (2, 13), generator=torch.Generator().manual_seed(1))
    return ids_BS[:, :-1], ids_BS[:, 1:]
