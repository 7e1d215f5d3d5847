"""The one truth for hyperparameters: names, types, defaults and ranges.

`TrainConfig` is what params.yaml is checked against, what the command line of 1_pretrain.py is made of,
and what a record holds as `hyperparameters`. Defaults are those of the paper's code (arXiv 2511.01581);
params.yaml sets smaller ones that suit the sample data. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from explicitlm.common.errors import ConfigError


class TrainConfig(BaseModel):
    """Every hyperparameter of a run. Frozen; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # Training length and optimizer
    epochs: int = Field(3, ge=1, description="passes over the training data")
    batch_size: int = Field(48, ge=1, description="sequences a process sees in one micro-batch")
    accumulation_steps: int = Field(16, ge=1, description="micro-batches in one optimizer step")
    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate of AdamW")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="share of the optimizer steps that warm up linearly")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW beta 1")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW beta 2")
    weight_decay: float = Field(0.1, ge=0, description="AdamW weight decay, on matrices only")
    grad_clip: float = Field(1.0, gt=0, description="largest global gradient norm")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on attention and fusion outputs")
    seed: int = Field(1337, ge=0, lt=2**31, description="seed of weights, batch order and noise")
    mixed_precision: Literal["no", "bf16"] = Field("no", description="compute type: fp32 (no) or bf16")
    gradient_checkpointing: bool = Field(False, description="recompute layers in backward to save memory")
    compile: bool = Field(False, description="compile the model with torch.compile")

    # Transformer
    dim: int = Field(512, ge=8, description="width D of the residual stream")
    n_layers: int = Field(8, ge=1, description="number of layers")
    n_heads: int = Field(16, ge=1, description="query heads")
    n_kv_heads: int = Field(8, ge=1, description="key and value heads (grouped-query attention)")
    vocab_size: int = Field(6400, ge=260, le=65535, description="tokens V of the byte-level BPE")
    max_seq_len: int = Field(512, ge=8, description="tokens S in one sequence")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of RMSNorm")
    rope_theta: float = Field(1e6, gt=0, description="base of the rotary position embedding")

    # Memory
    disable_memory: bool = Field(False, description="dense baseline of equal size: feed-forward instead of memory")
    knowledge_num: int = Field(1048576, ge=1, description="entries N of the memory bank, a perfect square")
    knowledge_length: int = Field(16, ge=1, description="tokens L an entry")
    knowledge_dim: int = Field(128, ge=2, description="width d_k of keys and router queries, even")
    num_candidates: int = Field(16, ge=1, description="rows C found a position; the default reads the best")
    router: Literal["content", "paper"] = Field(
        "content", description="how rows are found: by their words, or as in the paper"
    )
    router_coef: float = Field(0.5, ge=0, description="weight of the router's contrastive loss")
    aloud_share: float = Field(
        0.125, ge=0, le=1, description="extra sequences of facts read aloud, per sequence of text"
    )
    gumbel_temperature: float = Field(1.0, gt=0, description="router paper: temperature of the Gumbel softmax")
    similarity_coef: float = Field(0.1, ge=0, description="router paper: weight of the similarity loss")
    diversity_coef: float = Field(0.05, ge=0, description="router paper: weight of the diversity loss")
    freeze_ratio: float = Field(
        0.2, ge=0, le=1, description="share of the bank no update touches; facts none ever does"
    )
    use_ema_update: bool = Field(False, description="let rows without a fact move towards their queries")
    ema_decay: float = Field(0.9, ge=0, lt=1, description="share of an entry kept by one update")
    ema_update_freq: int = Field(5, ge=1, description="optimizer steps between two bank updates")

    # Observation
    log_interval: int = Field(10, ge=1, description="optimizer steps between two rows of metrics")
    eval_interval: int = Field(0, ge=0, description="optimizer steps between evaluations; 0: once an epoch")
    save_interval: int = Field(100, ge=1, description="optimizer steps between two resume states")
    digest_interval: int = Field(50, ge=1, description="optimizer steps between two links of the digest chain")
    use_swanlab: bool = Field(False, description="log curves to SwanLab")
    swanlab_project: str = Field("ExplicitLM", min_length=1, description="SwanLab project")
    swanlab_workspace: str = Field("", description="SwanLab workspace; empty: the account's own")
    swanlab_mode: Literal["online", "offline", "local", "disabled"] = Field("online", description="SwanLab mode")

    @model_validator(mode="after")
    def _shapes_fit(self) -> TrainConfig:
        side = math.isqrt(self.knowledge_num)
        if side * side != self.knowledge_num:
            raise ValueError(
                f"knowledge_num={self.knowledge_num} is not a perfect square; nearest: {side**2} or {(side + 1) ** 2}"
            )
        if side < self.num_candidates:
            raise ValueError(
                f"num_candidates={self.num_candidates} exceeds sqrt(knowledge_num)={side}: "
                f"knowledge_num must be at least {self.num_candidates**2}"
            )
        if self.dim % self.n_heads:
            raise ValueError(f"dim={self.dim} is not a multiple of n_heads={self.n_heads}")
        if (self.dim // self.n_heads) % 2:
            raise ValueError(f"dim/n_heads={self.dim // self.n_heads} is odd (rotary embedding turns pairs)")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}")
        if self.knowledge_dim % 2:
            raise ValueError(f"knowledge_dim={self.knowledge_dim} is odd (product keys split it in two halves)")
        return self


def parse_train_config(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Checks values against `TrainConfig`.

    Args:
        values: hyperparameters by name.
        source: where they were read, for the message.

    Raises:
        ConfigError: naming every offending key, its value and what is expected.
    """
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(
            f"{source}: {explain(error)}", f"correct the parameter in {source} or in -S key=value"
        ) from None


def explain(error: ValidationError) -> str:
    """One line a problem, in the words of the field's name, value and expectation."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown parameter {key!r}")
        elif key:
            lines.append(f"{key}={item['input']!r}: {message}")
        else:
            lines.append(message)
    return "; ".join(lines)
