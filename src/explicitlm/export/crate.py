"""An RO-Crate 1.3 of an exported experiment: what each file is, made from what, by which command, when."""

from __future__ import annotations

from pathlib import Path

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from explicitlm.records.schema import Record

FILES = {
    "model.safetensors": ("weights", "application/octet-stream"),
    "config.json": ("hyperparameters that the weights depend on", "application/json"),
    "tokenizer.json": ("byte-level BPE tokenizer", "application/json"),
    "knowledge.jsonl": ("facts of the memory bank and where they come from", "application/jsonl"),
    "items.jsonl.zst": ("what the model answered, a row a task item: JSON lines in zstd", "application/zstd"),
    "record.json": ("the whole record of the experiment", "application/json"),
    "README.md": ("model card", "text/markdown"),
}
MADE = ("model.safetensors", "config.json", "tokenizer.json", "knowledge.jsonl", "items.jsonl.zst")  # by the training
LICENSED = {"@type": "CreativeWork", "name": "Apache-2.0", "description": "Apache License, version 2.0"}
LICENSE = "https://spdx.org/licenses/Apache-2.0"  # the project's


def write(folder: Path, record: Record) -> None:
    """Writes ro-crate-metadata.json for the files that lie in a folder."""
    crate = ROCrate()
    experiment = record.experiment
    crate.name = f"ExplicitLM experiment {experiment.id}"
    crate.description = experiment.description or f"Weights of the experiment {experiment.id}, with its record"
    ended = record.timing.finished_at if record.timing else experiment.timestamp
    crate.datePublished = ended
    crate.root_dataset["license"] = crate.add(ContextEntity(crate, LICENSE, properties=LICENSED))
    parts = {name: crate.add_file(folder / name, properties=_described(folder / name, *FILES[name]))
             for name in FILES if (folder / name).is_file()}  # fmt: skip
    software = crate.add(ContextEntity(crate, "#explicitlm", properties={
        "@type": "SoftwareApplication", "name": "ExplicitLM", "url": "https://arxiv.org/abs/2511.01581",
        "version": record.versions.code_commit,
    }))  # fmt: skip
    training = crate.add(ContextEntity(crate, "#training", properties={
        "@type": "CreateAction",
        "name": "training",
        "description": record.reproduction.full_command,
        "instrument": {"@id": software.id},
        "startTime": record.timing.started_at if record.timing else experiment.timestamp,
        "endTime": ended,
        "result": [{"@id": parts[name].id} for name in MADE if name in parts],
    }))  # fmt: skip
    crate.root_dataset["mentions"] = training
    crate.metadata.write(folder)


def _described(file: Path, description: str, kind: str) -> dict[str, str]:
    size = str(file.stat().st_size)
    return {"name": file.name, "description": description, "encodingFormat": kind, "contentSize": size}
