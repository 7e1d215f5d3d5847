"""Data in another form than docs/data-formats.md says is named by file and place before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explicitlm.common.errors import DataError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.readable import CHECKS

CONFIG = TrainConfig(vocab_size=300, dim=32, knowledge_num=256, n_heads=4, n_kv_heads=2)


@pytest.mark.parametrize(
    ("dataset", "name", "text", "cause"),
    [
        ("database", "corpus.txt", "Ada lives in Oslo.", r"holds no \.jsonl"),
        ("database", "corpus.json", '[{"text": "Ada"}]', r"holds no \.jsonl"),
        ("database", "a.jsonl", '{"text": "Ada"}\n{"content": "Bo"}\n', r'a.jsonl, line 2: .*"text"'),
        ("database", "a.jsonl", '["Ada"]\n', "a.jsonl, line 1"),
        ("database", "a.jsonl", "Ada lives in Oslo.\n", "a.jsonl, line 1: broken JSON"),
        ("benchmarks", "a.jsonl", '{"question": "Ada lives in"}\n', r'a.jsonl, line 1: .*"text"'),
        ("benchmarks", "a.jsonl", '{"task": "quiz", "prompt": "x"}\n', "line 1: unknown task 'quiz'"),
        ("benchmarks", "a.jsonl", '{"task": "object_prediction", "question": "x"}\n', 'line 1: "prompt" is not a text'),
        ("knowledge_base", "facts.txt", "Ada lives in Oslo.", r"holds no \.json file"),
        ("knowledge_base", "facts.json", '{"sentence": "Ada"}', "holds dict, not a list"),
        ("knowledge_base", "facts.json", '["Ada", {"fact": "Bo"}]', "facts.json, entry 2: no fact"),
    ],
)
def test_texts(tmp_path: Path, dataset: str, name: str, text: str, cause: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=cause) as caught:
        CHECKS[f"data/{dataset}"](tmp_path, CONFIG)
    assert name in f"{caught.value.cause} {caught.value.hint}"


@pytest.mark.parametrize(
    ("dataset", "array", "cause"),
    [
        ("embeddings", np.zeros((300, 16), np.float32), r"have shape \[300, 16\], not \[300, 32\]"),
        ("embeddings", np.full((300, 32), np.nan, np.float32), "not finite numbers"),
        ("cache", np.zeros((64, 16), np.uint16), r"has shape \[64, 16\], the bank is \[256, 16\]"),
        ("cache", np.full((256, 16), 300, np.uint16), "no token ids below vocab_size=300"),
    ],
)
def test_arrays(tmp_path: Path, dataset: str, array: np.ndarray, cause: str) -> None:
    np.save(tmp_path / "array.npy", array)
    with pytest.raises(DataError, match=cause):
        CHECKS[f"data/{dataset}"](tmp_path, CONFIG)


def test_what_training_reads_passes(tmp_path: Path) -> None:
    for name, content in {"database/a.jsonl": '{"text": "Ada"}', "benchmarks/a.jsonl": '{"text": "Ada"}',
                          "knowledge_base/a.json": '["Ada"]'}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    arrays: dict[str, Any] = {"embeddings": np.zeros((300, 32), np.float32), "cache": np.zeros((256, 16), np.int64)}
    for name, array in arrays.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "array.npy", array)
    for path, check in CHECKS.items():
        check(tmp_path / Path(path).name, CONFIG)


@pytest.mark.parametrize("language", ["", ".zh-CN"])
def test_the_documents_own_examples_pass(tmp_path: Path, language: str) -> None:
    guide = (Path(__file__).parents[3] / f"docs/data-formats{language}.md").read_text(encoding="utf-8")
    names = {"database": "a.jsonl", "benchmarks": "a.jsonl", "knowledge_base": "a.json"}
    for section in guide.split("\n## ")[1:]:
        folder = section.removeprefix("data/").split(":")[0].split("：")[0]
        example = [
            line.strip() for line in section.splitlines() if line.startswith("    ") and "dvc exp run" not in line
        ]
        if folder in names:
            assert example
            (tmp_path / folder).mkdir()
            (tmp_path / folder / names.pop(folder)).write_text("\n".join(example), encoding="utf-8")
            CHECKS[f"data/{folder}"](tmp_path / folder, CONFIG)
    assert not names
