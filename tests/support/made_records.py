"""Records as an experiment would leave them, made without training: as many as a test or a benchmark wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from explicitlm.common import layout
from explicitlm.common.files import to_json
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import dump

DATASETS = ("database", "benchmarks", "embeddings", "knowledge_base", "cache")


def made(
    experiment: str,
    params: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    status: str = "finished",
    lm: str = "a" * 32,
    data: dict[str, str] | None = None,
    description: str = "",
    timestamp: str = "2026-01-01T00:00:00Z",
    **more: Any,
) -> dict[str, Any]:
    """A whole record as plain values.

    Args:
        params: over the defaults of TrainConfig. metrics: empty where the run did not finish.
        lm: hash of the code. data: content hashes by dataset, over those of an usual one.
        more: further fields of the record, such as outcome.
    """
    config = TrainConfig(**(params or {}))
    finished = status == "finished"
    hashes = {"database": f"{'d' * 32}.dir", "benchmarks": f"{'b' * 32}.dir"} | (data or {})
    code = "c" * 40
    return {
        "experiment": {
            "id": experiment,
            "description": description,
            "timestamp": timestamp,
            "script": f"explicitlm run {experiment}",
            "command": "accelerate launch 1_pretrain.py",
        },
        "versions": {
            "code_commit": code,
            "code_commit_short": code[:8],
            "data": {
                "dataset_commit": code,
                "val_dataset_commit": code,
                "embedding_commit": None,
                "database_init_commit": None,
                "cache_commit": None,
            },
            "checkpoint_dvc": layout.weights_pointer(experiment) if finished else None,
            "checkpoint_hash": f"{'e' * 32}.dir" if finished else None,
            "checkpoint_hash_short": "e" * 8 if finished else None,
            "experiment_commit": None,
            "experiment_tag": experiment if finished else None,
        },
        "hyperparameters": dump(config),
        "results": {
            "swanlab_url": None,
            "checkpoint_dir": f"{layout.weights(experiment)}/" if finished else None,
            "swanlab_status": "none",
            "swanlab_id": None,
            "metrics": (metrics or {}) if finished else {},
            "weights_from": experiment if finished else None,
        },
        "environment": {"python_version": "3.11.2", "cuda_version": None, "num_gpus": 0, "torch_version": "2.13.0+cpu",
                        "device": "cpu", "world_size": 1, "precision": "fp32", "cpu": "A CPU", "packages": {}},
        "reproduction": {
            "code_checkout": f"git checkout {experiment}",
            "data_checkout_steps": [f"git checkout {code} -- data/database.dvc && dvc pull data/database.dvc"],
            "checkpoint_pull": f"dvc pull {layout.weights_pointer(experiment)}" if finished else None,
            "full_command": f"git checkout {experiment} && accelerate launch 1_pretrain.py",
        },
        "schema_version": 1,
        "status": status,
        "failure": None if finished else {"exit_code": 1, "signal": None, "error": "the loss is nan at step 7\ntail"},
        "seed": config.seed,
        "code": {"dirty": False, "changed": [], "diff_sha256": None, "untracked": []},
        "data": {
            name: {"revision": "", "md5": hashes[name], "size": 1000, "nfiles": 2, "uncommitted": False}
            if name in hashes
            else None
            for name in DATASETS
        },
        "changed_params": {},
        "timing": {"started_at": timestamp, "finished_at": timestamp, "duration_s": 61.5},
        "findings": {"undeclared_inputs": [], "changed_during_run": []},
        "dependencies": {"src/explicitlm/lm": lm, "src/explicitlm/common": "f" * 32} if finished else {},
        **more,
    }  # fmt: skip


def write(root: Path, *records: dict[str, Any]) -> None:
    """Puts records into a checkout."""
    folder = root / layout.RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        (folder / f"{record['experiment']['id']}.json").write_text(to_json(record), encoding="utf-8")


def many(count: int) -> list[dict[str, Any]]:
    """Different experiments, one in 17 of them failed: four learning rates, three depths, and seeds."""
    rates, depths = (1e-4, 5e-4, 1e-3, 2e-3), (2, 4, 6)
    records = []
    for number in range(count):
        rate, depth, seed = rates[number % 4], depths[number // 4 % 3], number // 12
        noise = ((number * 7919) % 1000 - 500) / 25_000
        records.append(made(
            f"exp_{number:05d}",
            {"learning_rate": rate, "n_layers": depth, "seed": seed},
            {"val_loss": 2.6 - depth * 0.05 + abs(rate - 1e-3) * 80 + noise, "acc_object_prediction": 0.5 + noise,
             "steps": 120, "train_loss": 2.4 - depth * 0.05 + noise},
            status="failed" if number % 17 == 16 else "finished",
            description=f"learning rate {rate}, {depth} layers",
            timestamp=f"2026-01-{1 + number % 28:02d}T00:00:{number % 60:02d}Z",
        ))  # fmt: skip
    return records


def bare_project(root: Path) -> None:
    """What a folder needs to be taken for a project by the verbs that only look."""
    root.mkdir(parents=True, exist_ok=True)
    (root / layout.PIPELINE).write_text("stages: {}\n")
    (root / layout.PARAMS).write_text(json.dumps({}))
    (root / layout.RECORDS).mkdir(parents=True, exist_ok=True)


def explicitlm(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a verb there, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "explicitlm", *words], cwd=root, capture_output=True, text=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
