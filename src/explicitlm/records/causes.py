"""What was otherwise when an experiment was run again, sorted by the kind of cause."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from explicitlm.lm.typed import dump
from explicitlm.records.manifest import Manifest
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Cause, Difference

KINDS: dict[str, Cause] = {
    "world_size": "world size",
    "precision": "precision",
    "num_threads": "threads",
    "python_version": "packages",
    "torch_version": "packages",
    "cuda_version": "packages",
    "device": "hardware",
    "cpu": "hardware",
    "gpus": "hardware",
    "num_gpus": "hardware",
    "driver": "hardware",
}


def of_environment(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Machine and software: what both sides know and have otherwise."""
    for key, cause in KINDS.items():
        if key in was and key in now and was[key] != now[key]:
            yield Difference(cause=cause, what=key, was=was[key], now=now[key])
    kind = "distributions" if "distributions" in was and "distributions" in now else "packages"
    before, after = was.get(kind) or {}, now.get(kind) or {}
    if before and after:
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                yield Difference(cause="packages", what=name, was=before.get(name), now=after.get(name))


def of_parameters(record: Record, sealed: Manifest) -> Iterator[Difference]:
    """Hyperparameters that the record names otherwise than the manifest that was sealed before the training."""
    was, now = dump(sealed.hyperparameters), dump(record.hyperparameters)
    for key in was:
        if was[key] != now[key]:
            yield Difference(cause="parameters", what=key, was=was[key], now=now[key])
    if record.experiment.command != sealed.command and was == now:
        yield Difference(cause="parameters", what="command", was=sealed.command, now=record.experiment.command)


def of_code(
    record: Record, sealed: Manifest, files: Mapping[str, str], tracked: Container[str]
) -> Iterator[Difference]:
    """Code files that are not what was sealed, changed while it ran, or are in no commit.

    Args:
        files: sha256 of the code that runs now, by path.
        tracked: files that the experiment's commit holds.
    """
    for name in sorted(sealed.code.files.keys() | files.keys()):
        was, now = sealed.code.files.get(name), files.get(name)
        if was != now:
            yield Difference(cause="code", what=name, was=was and was[:8], now=now and now[:8])
    for name in record.findings.changed_during_run:
        cause: Cause = "data" if name.startswith("data/") else "code"
        yield Difference(cause=cause, what=name, was="changed while it ran", now="as it was sealed")
    for name in record.code.untracked:
        yield Difference(cause="code", what=name, was="untracked", now="in no commit")
    for name in record.findings.undeclared_inputs:
        if name not in tracked and name not in record.code.untracked:
            yield Difference(cause="code", what=name, was="read but undeclared", now="in no commit")


def of_data(record: Record, now: Mapping[str, str]) -> Iterator[Difference]:
    """Datasets whose version is another than the record's. now: DVC's hashes by folder under data/."""
    was = {folder: details.md5 for folder, details in record.data.items() if details}
    for folder in sorted(was.keys() | now.keys()):
        if was.get(folder) != now.get(folder):
            before, after = was.get(folder), now.get(folder)
            yield Difference(cause="data", what=f"data/{folder}", was=before and before[:8], now=after and after[:8])
