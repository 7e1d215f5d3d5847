"""The sample data: pinned bytes, the formats of real data, and facts that are really held back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from explicitlm.common.errors import UsageError
from explicitlm.datasets.sample import VERSIONS, write

# data/*.dvc pin these bytes too: a change here is a change of the project's data.
PINNED = {
    1: "bf9d25e490f290fa11447a2699cde4fa4b33f03a0627b2254b5916fc8795e7ae",
    2: "1ce27f318b7201323e67924565c9d468688c61adb44fdded0606ce9371a62d31",
}
FACT_KEYS = ["sentence", "uuid", "subject", "predicate", "object"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {version: tmp_path_factory.mktemp(f"v{version}") for version in VERSIONS}
    for version, folder in folders.items():
        write(version, folder)
    return folders


def digest(folder: Path) -> str:
    """SHA-256 over paths and contents."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def texts(folder: Path) -> list[str]:
    return [
        json.loads(line)["text"]
        for path in sorted(folder.glob("database/*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def facts(folder: Path) -> list[dict[str, str]]:
    entries: list[dict[str, list[dict[str, str]]]] = []
    for path in sorted(folder.glob("knowledge_base/*.json")):
        entries += json.loads(path.read_text(encoding="utf-8"))
    return [fact for entry in entries for fact in entry["target"]]


def items(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "benchmarks" / "tasks.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def held(folder: Path) -> set[str]:
    return set(json.loads((folder / "benchmarks" / "held.json").read_text())["held"])


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_are_pinned(samples: dict[int, Path], version: int) -> None:
    assert digest(samples[version]) == PINNED[version]


def test_bytes_do_not_depend_on_hash_seed_or_locale(tmp_path: Path) -> None:
    code = "import sys, pathlib, explicitlm.datasets.sample as s; s.write(2, pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "new")], env=environment, check=True)
    assert digest(tmp_path / "new") == PINNED[2]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        write(1, tmp_path)
    with pytest.raises(UsageError, match="not an empty folder"):
        write(1, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no version 3"):
        write(3, tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_sizes(samples: dict[int, Path], version: int) -> None:
    text_bytes = sum(path.stat().st_size for path in samples[version].glob("database/*"))
    assert 1_000_000 < text_bytes < 1_500_000
    assert 2048 < len(facts(samples[version])) < 4096
    validation = samples[version] / "benchmarks" / "validation.jsonl"
    assert 60_000 < validation.stat().st_size < 100_000


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_have_the_format_of_real_data_and_one_uuid_each(samples: dict[int, Path], version: int) -> None:
    known = facts(samples[version])
    assert all(list(fact) == FACT_KEYS for fact in known)
    assert len({fact["uuid"] for fact in known}) == len({fact["sentence"] for fact in known}) == len(known)
    slots = Counter((fact["subject"], fact["predicate"]) for fact in known)
    assert set(slots.values()) == {1}
    pairs = Counter((fact["subject"], fact["object"]) for fact in known)
    assert set(pairs.values()) == {1}, "a subject and an object would have two relations"
    assert all(fact["sentence"].rstrip(".。").endswith(fact["object"]) for fact in known)


@pytest.mark.parametrize("version", VERSIONS)
def test_names_of_different_things_differ(samples: dict[int, Path], version: int) -> None:
    kinds: dict[str, set[str]] = {}
    for fact in facts(samples[version]):
        for predicate, kind in (("birthplace", "town"), ("mentor", "person"), ("employer", "firm")):
            if fact["predicate"] == predicate:
                kinds.setdefault(kind, set()).add(fact["object"])
        if fact["predicate"] == "river":
            kinds.setdefault("river", set()).add(fact["object"])
    every = [name for names in kinds.values() for name in names]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("version", VERSIONS)
def test_held_facts_are_never_said(samples: dict[int, Path], version: int) -> None:
    folder = samples[version]
    known, secret = facts(folder), held(folder)
    assert 0.27 < len(secret) / len(known) < 0.33
    validation = (folder / "benchmarks" / "validation.jsonl").read_text(encoding="utf-8")
    documents = [*texts(folder), *(json.loads(line)["text"] for line in validation.splitlines())]
    seen_pairs = {(fact["object"], fact["subject"]) for fact in known if fact["uuid"] not in secret}
    sentences = [s for text in documents for s in text.replace("\n", "。").replace(". ", "。").split("。")]
    told = set(sentences)
    people = {fact["subject"] for fact in known}
    for fact in known:
        if fact["uuid"] in secret:
            assert fact["sentence"].rstrip(".。") not in told
    # However it is worded: no sentence has the two names, unless it says another fact the other way round.
    hidden = [f for f in known if f["uuid"] in secret and f["object"] in people and f["subject"] in people]
    assert len(hidden) > 200
    for fact in hidden[:: len(hidden) // 100]:
        both = [s for s in sentences if fact["subject"] in s and fact["object"] in s and "false" not in s]
        assert not both or (fact["subject"], fact["object"]) in seen_pairs


@pytest.mark.parametrize("version", VERSIONS)
def test_seen_facts_are_said_several_times(samples: dict[int, Path], version: int) -> None:
    folder = samples[version]
    secret, lines = held(folder), texts(folder)
    counts = []
    for fact in facts(folder)[400::150]:
        if fact["uuid"] not in secret:
            counts.append(sum(fact["subject"].split()[0] in line and fact["object"] in line for line in lines))
    assert min(counts) >= 3


@pytest.mark.parametrize("version", VERSIONS)
def test_benchmark_items_are_balanced_and_tied_to_facts(samples: dict[int, Path], version: int) -> None:
    folder = samples[version]
    by_uuid, secret = {fact["uuid"]: fact for fact in facts(folder)}, held(folder)
    halves = Counter((item["task"], item["uuid"] in secret) for item in items(folder))
    assert set(halves.values()) == {120} and len(halves) == 6
    truths = Counter(
        (item["uuid"] in secret, item["answer"]) for item in items(folder) if item["task"] == "fact_verification"
    )
    assert set(truths.values()) == {60}
    for item in items(folder):
        fact, right = by_uuid[item["uuid"]], item["choices"][item["answer"]]
        assert list(item) == ["task", "uuid", "prompt", "choices", "answer"]
        assert len(set(item["choices"])) == len(item["choices"])
        if item["task"] == "object_prediction":
            assert len(item["choices"]) == 4
            assert f"{item['prompt']} {right}." == fact["sentence"]
        elif item["task"] == "relation_reasoning":
            assert len(item["choices"]) == 4
            assert item["prompt"] == f"{fact['object']} is to {fact['subject']} the"
            assert right == fact["predicate"]
        else:
            assert item["choices"] == ["true", "false"]
            assert (item["prompt"] == f"{fact['sentence']} True or false?") is (right == "true")


@pytest.mark.parametrize("version", VERSIONS)
def test_no_examined_item_is_practised_and_no_validation_text_is_trained_on(
    samples: dict[int, Path], version: int
) -> None:
    folder = samples[version]
    lines = {line for text in texts(folder) for line in text.splitlines()}
    for item in items(folder):
        if item["task"] != "object_prediction":
            assert f"{item['prompt']} {item['choices'][item['answer']]}" not in lines
    validation = (folder / "benchmarks" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    assert not {json.loads(line)["text"] for line in validation} & set(texts(folder))


def test_version_2_is_a_later_state_of_the_same_world(samples: dict[int, Path]) -> None:
    before = {(f["subject"], f["predicate"]): f["object"] for f in facts(samples[1])}
    after = {(f["subject"], f["predicate"]): f["object"] for f in facts(samples[2])}
    assert before.keys() < after.keys()
    changed = [slot for slot in before if before[slot] != after[slot]]
    assert 50 < len(changed) < 250
    assert {predicate for _, predicate in changed} >= {"home town", "employer", "profession", "pet"}
    assert len(texts(samples[2])) > len(texts(samples[1]))
    for name in ("database", "benchmarks", "knowledge_base"):
        assert digest(samples[1] / name) != digest(samples[2] / name)
