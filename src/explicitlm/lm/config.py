"""The one truth for hyperparameters: names, types, defaults and ranges.

`TrainConfig` is what params.yaml is checked against, what the command line of 1_pretrain.py is made of,
and what a record holds as `hyperparameters`. Defaults are those of the paper's code (arXiv 2511.01581);
params.yaml sets smaller ones that suit the sample data. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

from explicitlm.common.errors import ConfigError
from explicitlm.lm.typed import Checked, convert, dump


class TrainConfig(Checked, frozen=True):
    """Every hyperparameter of a run. Frozen; unknown keys and wrong types are errors."""

    # Training length and optimizer
    epochs: Annotated[int, Meta(ge=1, description="passes over the training data")] = 3
    batch_size: Annotated[int, Meta(ge=1, description="sequences a process sees in one micro-batch")] = 48
    accumulation_steps: Annotated[int, Meta(ge=1, description="micro-batches in one optimizer step")] = 16
    learning_rate: Annotated[float, Meta(gt=0, description="peak learning rate of AdamW")] = 2e-4
    warmup_ratio: Annotated[
        float, Meta(ge=0, lt=1, description="share of the optimizer steps that warm up linearly")
    ] = 0.1
    beta1: Annotated[float, Meta(ge=0, lt=1, description="AdamW beta 1")] = 0.9
    beta2: Annotated[float, Meta(ge=0, lt=1, description="AdamW beta 2")] = 0.95
    weight_decay: Annotated[float, Meta(ge=0, description="AdamW weight decay, on matrices only")] = 0.1
    grad_clip: Annotated[float, Meta(gt=0, description="largest global gradient norm")] = 1.0
    dropout: Annotated[float, Meta(ge=0, lt=1, description="dropout on attention and fusion outputs")] = 0.0
    seed: Annotated[int, Meta(ge=0, lt=2**31, description="seed of weights, batch order and noise")] = 1337
    mixed_precision: Annotated[Literal["no", "bf16"], Meta(description="compute type: fp32 (no) or bf16")] = "no"
    gradient_checkpointing: Annotated[bool, Meta(description="recompute layers in backward to save memory")] = False
    compile: Annotated[bool, Meta(description="compile the model with torch.compile")] = False

    # Transformer
    dim: Annotated[int, Meta(ge=8, description="width D of the residual stream")] = 512
    n_layers: Annotated[int, Meta(ge=1, description="number of layers")] = 8
    n_heads: Annotated[int, Meta(ge=1, description="query heads")] = 16
    n_kv_heads: Annotated[int, Meta(ge=1, description="key and value heads (grouped-query attention)")] = 8
    vocab_size: Annotated[int, Meta(ge=260, le=65535, description="tokens V of the byte-level BPE")] = 6400
    max_seq_len: Annotated[int, Meta(ge=8, description="tokens S in one sequence")] = 512
    norm_eps: Annotated[float, Meta(gt=0, description="epsilon of RMSNorm")] = 1e-5
    rope_theta: Annotated[float, Meta(gt=0, description="base of the rotary position embedding")] = 1e6
    attend_across_documents: Annotated[
        bool, Meta(description="attention sees the earlier documents of its sequence too, not its own alone")
    ] = True

    # Memory
    disable_memory: Annotated[
        bool, Meta(description="dense baseline of equal size: feed-forward instead of memory")
    ] = False
    knowledge_num: Annotated[int, Meta(ge=1, description="entries N of the memory bank, a perfect square")] = 1048576
    knowledge_length: Annotated[int, Meta(ge=1, description="tokens L an entry")] = 16
    knowledge_dim: Annotated[int, Meta(ge=2, description="width d_k of keys and router queries, even")] = 128
    num_candidates: Annotated[int, Meta(ge=1, description="rows C found a position; the default reads the best")] = 16
    router: Annotated[
        Literal["content", "paper"], Meta(description="how rows are found: by their words, or as in the paper")
    ] = "content"
    router_coef: Annotated[float, Meta(ge=0, description="weight of the router's contrastive loss")] = 0.5
    aloud_share: Annotated[
        float, Meta(ge=0, le=1, description="extra sequences of facts read aloud, per sequence of text")
    ] = 0.125
    gumbel_temperature: Annotated[float, Meta(gt=0, description="router paper: temperature of the Gumbel softmax")] = (
        1.0
    )
    similarity_coef: Annotated[float, Meta(ge=0, description="router paper: weight of the similarity loss")] = 0.1
    diversity_coef: Annotated[float, Meta(ge=0, description="router paper: weight of the diversity loss")] = 0.05
    freeze_ratio: Annotated[
        float, Meta(ge=0, le=1, description="share of the bank no update touches; facts none ever does")
    ] = 0.2
    use_ema_update: Annotated[bool, Meta(description="let rows without a fact move towards their queries")] = False
    ema_decay: Annotated[float, Meta(ge=0, lt=1, description="share of an entry kept by one update")] = 0.9
    ema_update_freq: Annotated[int, Meta(ge=1, description="optimizer steps between two bank updates")] = 5

    # Observation
    log_interval: Annotated[int, Meta(ge=1, description="optimizer steps between two rows of metrics")] = 10
    eval_interval: Annotated[int, Meta(ge=0, description="optimizer steps between evaluations; 0: once an epoch")] = 0
    save_interval: Annotated[int, Meta(ge=1, description="optimizer steps between two resume states")] = 100
    digest_interval: Annotated[int, Meta(ge=1, description="optimizer steps between two links of the digest chain")] = (
        50
    )
    use_swanlab: Annotated[bool, Meta(description="log curves to SwanLab")] = False
    swanlab_project: Annotated[str, Meta(min_length=1, description="SwanLab project")] = "ExplicitLM"
    swanlab_workspace: Annotated[str, Meta(description="SwanLab workspace; empty: the account's own")] = ""
    swanlab_mode: Annotated[Literal["online", "offline", "local", "disabled"], Meta(description="SwanLab mode")] = (
        "online"
    )

    def __post_init__(self) -> None:
        for name, value in dump(self).items():
            if not _is_finite(value):
                raise ValueError(f"{name}={value!r} is not finite")
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


def parse_train_config(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Checks values against `TrainConfig`.

    Args:
        values: hyperparameters by name.
        source: where they were read, for the message.

    Raises:
        ConfigError: naming every offending key, its value and what is expected.
    """
    try:
        return convert(dict(values), TrainConfig)
    except ValueError as error:
        cause = "; ".join(_unfit(values)) or error  # where each value alone is right, several do not fit together
        raise ConfigError(f"{source}: {cause}", f"correct the parameter in {source} or in -S key=value") from None


def _unfit(values: Mapping[str, Any]) -> Iterator[str]:
    """Keys that are unknown or have no value that they may have, each in words."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(TrainConfig)}
    for key, value in values.items():
        if key not in kinds:
            yield f"unknown parameter {key!r}"
            continue
        try:
            fits = _is_finite(convert(value, kinds[key]))
        except ValueError:
            fits = False
        if not fits:
            yield f"{key}={value!r}: must be {_allowed(kinds[key])}"


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _allowed(kind: Any) -> str:
    """What a hyperparameter may be, such as `a whole number, at least 1`."""
    told = inspect.type_info(kind)
    told = told.type if isinstance(told, inspect.Metadata) else told
    if isinstance(told, inspect.BoolType):
        return "true or false"
    if isinstance(told, inspect.LiteralType):
        return f"one of {', '.join(map(str, told.values))}"
    if isinstance(told, inspect.StrType):
        return "a text, not empty" if told.min_length else "a text"
    assert isinstance(told, inspect.IntType | inspect.FloatType)
    limits = {"at least": told.ge, "above": told.gt, "at most": told.le, "below": told.lt}
    between = " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)
    return f"{'a whole number' if isinstance(told, inspect.IntType) else 'a finite number'}, {between}"
