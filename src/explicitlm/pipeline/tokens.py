"""Makes the tokens of an experiment before its training asks for a GPU, once for all trees of a checkout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import explicitlm.lm.data
from explicitlm.common import layout
from explicitlm.common.files import write_json
from explicitlm.datasets.resolve import DatasetPlan
from explicitlm.datasets.table import TEXT
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.note import (
    find_texts,
    fingerprint,
    link_files,
    noted_files,
    read_note,
    unread_files,
    write_note,
)
from explicitlm.lm.training.run_paths import RunPaths
from explicitlm.vcs.workspace import Workspace


def prepare_tokens(workspace: Workspace, config: TrainConfig, plans: list[DatasetPlan]) -> list[str]:
    """Finds or makes tokenizer and tokens in the main checkout's store, and links them into the stage's tree.

    A text whose version (DVC's hash) was seen before is not even read; where everything was prepared for the same
    versions by the same code, numpy and tokenizers are not even loaded.

    Returns:
        files of the datasets that no training reads.

    Raises:
        DataError: the text or the validation data is missing or broken.
    """
    sources = RunPaths.of({}, resume=False).sources
    store, note = workspace.main / layout.LOCAL, workspace.workdir / layout.TEXT_NOTE
    known = store / "prepared" / f"{_name(workspace, config, plans)}.json"
    digest, files = read_note(known).get("digest"), noted_files(known)
    if isinstance(digest, str) and files and all((store / name).is_file() for name in files):
        write_note(note, digest, fingerprint(sources.text, find_texts(sources.text)), files)
    else:
        from explicitlm.lm.data.prepare import prepare  # numpy and tokenizers: 0.2 s

        version = next((item.target.md5 for item in plans if item.dataset == TEXT and item.target), "")
        files = prepare(config, sources, store, note, version).files
        write_json(known, read_note(note))
    if workspace.isolated:
        link_files(files, store, workspace.workdir / layout.LOCAL)
    return unread_files(sources)


def _name(workspace: Workspace, config: TrainConfig, plans: list[DatasetPlan]) -> str:
    """A digest of all that decides what is prepared: the data, vocabulary and bank, the code, its libraries."""
    versions = {item.dataset.folder: item.target.md5 if item.target else None for item in plans}
    code = sorted(Path(explicitlm.lm.data.__path__[0]).glob("*.py"))
    read = [*code, workspace.workdir / layout.REQUIREMENTS]
    settings = (config.vocab_size, config.knowledge_num, config.router, config.disable_memory)
    content = [hashlib.sha256(path.read_bytes()).hexdigest() for path in read if path.is_file()]
    return hashlib.sha256(json.dumps([versions, *settings, content]).encode()).hexdigest()
