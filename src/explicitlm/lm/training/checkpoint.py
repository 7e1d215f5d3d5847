"""The finished model: weights, configuration, tokenizer, its facts. Equal runs write equal bytes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from explicitlm.common.aside import put_aside
from explicitlm.common.errors import DataError
from explicitlm.common.files import read_json, sync_folder, to_json
from explicitlm.lm.config import TrainConfig, parse_train_config
from explicitlm.lm.data.knowledge import Fact
from explicitlm.lm.data.tokenizer import TextTokenizer
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.observation import OBSERVATION
from explicitlm.lm.typed import dump

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
KNOWLEDGE = "knowledge.jsonl"  # what the bank's facts are and where they come from, a line each; not in a dense model


class Checkpoint(NamedTuple):
    """A loaded checkpoint: the model in evaluation mode on the CPU, tokenizer, configuration, facts by bank row."""

    model: ExplicitLM
    tokenizer: TextTokenizer
    config: TrainConfig
    facts: dict[int, Fact]


def weight_settings(config: TrainConfig) -> dict[str, object]:
    """The hyperparameters that the weights depend on."""
    return {name: value for name, value in dump(config).items() if name not in OBSERVATION}


def save(folder: Path, model: ExplicitLM, tokenizer: TextTokenizer, facts: Mapping[int, Fact]) -> None:
    """Writes a checkpoint folder; readers see the old folder or the new one, never a part.

    Raises:
        OSError: the disk is full or read-only; an old checkpoint is then untouched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        temporary.chmod(0o755)  # mkdtemp makes 0700
        weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_synced(temporary / WEIGHTS, save_tensors(weights))
        write_synced(temporary / CONFIG, to_json(weight_settings(model.config)).encode())
        write_synced(temporary / TOKENIZER, tokenizer.serialised.encode())
        if model.bank is not None:
            lines = (json.dumps({"row": row, **asdict(facts[row])}, ensure_ascii=False) + "\n" for row in sorted(facts))
            write_synced(temporary / KNOWLEDGE, "".join(lines).encode())
        replace_folder(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def load(folder: Path | str) -> Checkpoint:
    """Loads a checkpoint that `save` wrote.

    Raises:
        DataError: a file is missing or does not fit the others.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG, TOKENIZER):
        if not (folder / name).is_file():
            raise DataError(f"{folder} is not a checkpoint: {name} is missing", _brought_again(folder))
    config = parse_train_config(read_json(folder / CONFIG, _brought_again(folder)), str(folder / CONFIG))
    tokenizer = TextTokenizer((folder / TOKENIZER).read_text(encoding="utf-8"), str(folder / TOKENIZER))
    model = ExplicitLM(config, tokenizer.pad_id, tokenizer.start_id)
    try:
        model.load_state_dict(load_tensors((folder / WEIGHTS).read_bytes()))
    except Exception as error:  # safetensors and torch raise errors of several kinds
        raise DataError(f"{folder / WEIGHTS} does not fit {CONFIG} ({error})", _brought_again(folder)) from None
    facts = _read_facts(folder / KNOWLEDGE) if model.bank is not None else {}
    model.eval().build_index()
    return Checkpoint(model, tokenizer, config, facts)


def _read_facts(path: Path) -> dict[int, Fact]:
    """The facts of a checkpoint; none in one that was made before they were kept."""
    if not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {line.pop("row"): Fact(**line) for line in lines}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold the facts of a checkpoint ({error})", _brought_again(path.parent)
        ) from None


def _brought_again(folder: Path) -> str:
    """What brings a checkpoint that was changed or is not here; what is here is kept beside it."""
    if not folder.with_name(f"{folder.name}.dvc").is_file():
        return f"name a folder with {WEIGHTS}, {CONFIG} and {TOKENIZER}"
    pull = shlex.join(["dvc", "pull", f"{folder}.dvc"])
    return f"{put_aside(str(folder))} && {pull}" if folder.exists() else pull


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file and waits until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Waits until the disk has a file that a library wrote."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def replace_folder(new: Path, target: Path) -> None:
    """Puts folder `new` in the place of `target`; an old one is moved aside first, then removed."""
    sync_folder(new)
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def load_embeddings(model: ExplicitLM, values: torch.Tensor) -> None:
    """Pretrained token embeddings [V, D] in place of the random ones; the head is tied to them."""
    with torch.no_grad():
        model.embedding.weight.copy_(values)
