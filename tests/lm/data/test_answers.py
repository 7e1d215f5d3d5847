"""The file of answers: what is written is read again, equal answers are equal bytes, and it stays small."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
import zstandard
from msgspec.structs import asdict, replace

from explicitlm.common.errors import DataError
from explicitlm.lm.data import answers
from explicitlm.lm.data.answers import Answer


def made(count: int) -> list[Answer]:
    """Items of 20,000 made-up names, so that no text repeats more than a real one would."""
    draw = random.Random(7)
    names = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(20_000)]
    return [
        Answer(
            task="object_prediction",
            uuid=f"{draw.getrandbits(64):016x}",
            prompt=f"{draw.choice(names)} {draw.choice(names)} was born in the town of",
            choices=draw.choices(names, k=4),
            answer=draw.randrange(4),
            scores=[round(-6 * draw.random(), 4) for _ in range(4)],
            choice=draw.randrange(4),
            row=draw.randrange(1 << 20),
            read=[draw.randrange(1 << 20)],
            hit=draw.random() < 0.5,
        )
        for _ in range(count)
    ]


def test_written_answers_are_read_again_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    some = [*made(50), replace(made(1)[0], prompt="李白\u2028生于\n何处", row=None, hit=None)]
    for name in ("a", "b"):
        answers.write(tmp_path / name / "items.jsonl.zst", some)
    assert answers.read(tmp_path / "a/items.jsonl.zst") == some
    assert (tmp_path / "a/items.jsonl.zst").read_bytes() == (tmp_path / "b/items.jsonl.zst").read_bytes()
    answers.write(tmp_path / "none", [])
    assert answers.read(tmp_path / "none") == []


def test_an_old_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    """It may be one with an object of DVC's cache."""
    held, path = tmp_path / "object", tmp_path / "items"
    answers.write(held, made(1))
    before = held.read_bytes()
    path.hardlink_to(held)
    answers.write(path, made(2))
    assert held.read_bytes() == before and len(answers.read(path)) == 2


def test_a_hundred_thousand_stay_small(tmp_path: Path) -> None:
    path = tmp_path / "items"
    answers.write(path, made(20_000))
    assert path.stat().st_size < 20_000 * 80


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"no zstd at all", "damaged zstd"),
        (zstandard.compress(b"{}\n"), "line 1 is no answer to an item"),
        (zstandard.compress(b"[" * 100_000), "line 1 is no answer to an item"),
        (
            zstandard.compress(msgspec.json.encode(asdict(made(1)[0]) | {"choice": 9})),
            "an index beyond the choices",
        ),
    ],
)
def test_what_is_no_list_of_answers_is_told_in_one_line(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "items").write_bytes(content)
    with pytest.raises(DataError, match=cause) as error:
        answers.read(tmp_path / "items")
    assert "\n" not in str(error.value)


def test_a_bomb_is_no_list_of_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_MOST_BYTES", 1 << 20)
    (tmp_path / "items").write_bytes(zstandard.compress(bytes(8 << 20)))
    with pytest.raises(DataError, match="more than 1 MiB"):
        answers.read(tmp_path / "items")


def test_a_file_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "items"
    answers.write(path, made(2000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError):
        answers.read(path)
