"""Every option of the command line has an effect that can be seen."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from explicitlm.common.errors import DataError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.training import checkpoint
from explicitlm.lm.training.run_data import load_run_data

# another value than the tiny default for every option that must change the weights
OTHER_WEIGHTS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "accumulation_steps": 1,
    "learning_rate": 1e-3,
    "warmup_ratio": 0.5,
    "beta1": 0.8,
    "beta2": 0.9,
    "weight_decay": 0.5,
    "grad_clip": 0.1,
    "dropout": 0.2,
    "seed": 7,
    "mixed_precision": "bf16",
    "dim": 48,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 4,
    "vocab_size": 280,
    "max_seq_len": 16,
    "norm_eps": 1e-2,
    "rope_theta": 10.0,
    "attend_across_documents": False,
    "disable_memory": True,
    "knowledge_num": 400,
    "knowledge_length": 6,
    "knowledge_dim": 8,
    "router": "paper",
    "router_coef": 0.1,
    "aloud_share": 0.5,
    "use_ema_update": True,
}
# options that act in the paper's form only, or with updates of implicit rows only
OF_PAPER: dict[str, Any] = {
    "num_candidates": 3,
    "gumbel_temperature": 0.5,
    "similarity_coef": 0.0,
    "diversity_coef": 0.0,
}
OF_UPDATES: dict[str, Any] = {"freeze_ratio": 1.0, "ema_decay": 0.5, "ema_update_freq": 1}
SAME_WEIGHTS = {"gradient_checkpointing": True}
SEEN_ELSEWHERE = {
    *("log_interval", "eval_interval", "save_interval", "digest_interval"),  # below, in the files they make
    *("use_swanlab", "swanlab_project", "swanlab_workspace", "swanlab_mode"),  # below, in a real process
    "compile",  # tests/lm/model/test_config_effects.py: the loop hands the configuration to the model as it is
}


def test_no_option_is_forgotten() -> None:
    assert set(OTHER_WEIGHTS) | set(OF_PAPER) | set(OF_UPDATES) | set(SAME_WEIGHTS) | SEEN_ELSEWHERE == set(
        TrainConfig.__struct_fields__
    )


@pytest.mark.slow
def test_options_that_make_the_weights(small: Any, hashes: Any) -> None:
    idle = []
    for values, also in ((OTHER_WEIGHTS, {}), (OF_PAPER, {"router": "paper"}), (OF_UPDATES, {"use_ema_update": True})):
        small.train("base", **{"epochs": 1, **also})
        base = hashes(small.folder / "out/base")["model.safetensors"]
        for name, value in values.items():
            small.train(name, **{"epochs": 1, **also, name: value})
            if hashes(small.folder / "out" / name)["model.safetensors"] == base:
                idle.append(name)
    assert not idle, f"parsed and ignored: {idle}"


def test_recomputing_layers_changes_no_bit(small: Any, hashes: Any) -> None:
    small.train("base", epochs=1, dropout=0.1)
    small.train("checkpointed", epochs=1, dropout=0.1, gradient_checkpointing=True)
    first, second = (hashes(small.folder / "out" / name)["model.safetensors"] for name in ("base", "checkpointed"))
    assert first == second


def metrics(folder: Path) -> dict[str, float]:
    values: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return values


def steps(path: Path) -> list[int]:
    with path.open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def open_files() -> list[str]:
    """What this process has open, by path."""
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def test_intervals_show_in_the_files(small: Any) -> None:
    small.train("run", epochs=3, log_interval=4, eval_interval=3, digest_interval=5, save_interval=6)
    folder = small.folder / "metrics/run"
    last = metrics(folder)["steps"]
    assert last == 14
    assert [name for name in open_files() if name.startswith(str(folder))] == [], "closed at the end"
    assert steps(folder / "train.csv") == [4, 8, 12, 14]
    assert steps(folder / "val.csv") == [3, 6, 9, 12, 14]
    assert steps(folder / "digests.csv") == [0, 1, 2, 4, 5, 10, 14]
    assert sorted(path.name[5:13] for path in (small.folder / "runs/run/states").iterdir()) == ["00000012", "00000014"]
    small.train("epochs", epochs=3)
    assert steps(small.folder / "metrics/epochs/val.csv") == [5, 9, 14]


@pytest.mark.slow
def test_swanlab_options(processes: Any) -> None:
    options = {"use_swanlab": True, "swanlab_mode": "offline", "swanlab_project": "P", "swanlab_workspace": "W"}
    processes.environment |= {
        "EXPLICITLM_RUN_ID": "exp_9",
        "EXPLICITLM_RUN_DIR": "runs/exp_9",
        "HOME": str(processes.folder),
    }
    processes.run(epochs=1, **options)
    tracker = json.loads((processes.folder / "runs/exp_9/tracker.json").read_text())
    assert tracker["project"] == "P" and tracker["workspace"] == "W" and "exp_9" in tracker["id"]
    assert tracker["status"] == "planned"
    processes.run(epochs=1)
    assert json.loads((processes.folder / "runs/exp_9/tracker.json").read_text())["status"] == "none"


def test_data_options_choose_what_is_read(small: Any) -> None:
    small.train("base", epochs=1)
    rows = np.arange(256 * 8).reshape(256, 8) % 250 + 4
    table = np.linspace(-1, 1, 300 * 32, dtype=np.float32).reshape(300, 32)
    (small.folder / "bank").mkdir()
    np.save("bank/rows.npy", rows)
    np.save("table.npy", table)
    still = {"epochs": 1, "learning_rate": 1e-12, "use_ema_update": False, "weight_decay": 0.0}
    paths = {"cache_path": "bank", "pretrained_embedding_path": "table.npy"}
    small.train("given", paths=paths, **still)
    weights = load_file("out/given/model.safetensors")
    assert np.array_equal(weights["bank.entries_NL"], rows)
    np.testing.assert_allclose(weights["embedding.weight"], table, atol=1e-6)


def test_text_facts_and_validation_come_from_the_given_paths(small: Any, hashes: Any) -> None:
    """The same data under other names gives the same run; other data there gives another."""
    small.train("base", epochs=1)
    names = {"dataset_path": "database", "val_dataset_path": "benchmarks", "database_init_path": "knowledge_base"}
    Path("data").rename("moved")
    paths = {option: f"moved/{name}" for option, name in names.items()}
    small.train("moved", epochs=1, paths=paths)
    assert hashes(small.folder / "out/base") == hashes(small.folder / "out/moved")
    assert metrics(small.folder / "metrics/base") == metrics(small.folder / "metrics/moved")
    for option, name in names.items():
        shutil.copytree("moved", f"{name}-changed")
        file = next(Path(f"{name}-changed", name).iterdir())
        file.write_text(file.read_text().replace("lives", "works"))
        small.train(name, epochs=1, paths={**paths, option: str(file.parent)})
        assert metrics(small.folder / "metrics/base") != metrics(small.folder / "metrics" / name), option


def test_default_folders_are_optional_and_given_ones_are_not(small: Any) -> None:
    small.train("base", epochs=1)  # has neither data/embeddings nor data/cache
    with pytest.raises(DataError, match="--cache_path nowhere does not exist"):
        small.train("other", paths={"cache_path": "nowhere"})


@pytest.mark.parametrize("router", ["content", "paper"])
def test_facts_stay_as_they_are_while_the_other_rows_move(small: Any, router: str) -> None:
    paths = small.paths("run")
    before = load_run_data(small.config(), paths).knowledge
    assert before is not None
    small.train("run", epochs=2, ema_update_freq=1, ema_decay=0.2, freeze_ratio=0.0, use_ema_update=True, router=router)
    after = load_file("out/run/model.safetensors")
    changed = (after["bank.entries_NL"] != before.rows_NL).any(1)
    assert changed.any() and not changed[list(before.facts)].any()
    assert after["bank.fact_N"].nonzero()[0].tolist() == sorted(before.facts)
    loaded = checkpoint.load("out/run")
    assert loaded.model.bank is not None and not loaded.model.training
    texts = loaded.model.bank.decode(list(range(8)), lambda ids: loaded.tokenizer.decode(ids))
    facts = json.loads(Path("data/knowledge_base/facts.json").read_text())
    for text, fact in zip(texts, facts, strict=True):
        assert fact["target"][0]["sentence"].startswith(text)
