"""What was learnt and lost: the right items by name, McNemar's test against SciPy, no luck called real."""

from __future__ import annotations

import json
import random
from pathlib import Path

import made_records
import pytest
from made_records import explicitlm
from msgspec.structs import replace

from explicitlm.common.errors import UsageError
from explicitlm.comparison import facts
from explicitlm.lm.data import answers
from explicitlm.lm.data.answers import Answer

scipy_stats = pytest.importorskip("scipy.stats")


def answer(number: int, right: bool, task: str = "object_prediction", hit: bool | None = None) -> Answer:
    return Answer(task=task, uuid=f"u{number}", prompt=f"第{number}人 lives in", choices=["Oslo", "Rome"], answer=0,
                  scores=[-1.0, -2.0], choice=int(not right), row=None if hit is None else number, read=[],
                  hit=hit)  # fmt: skip


def asked(rights: str, task: str = "object_prediction") -> list[Answer]:
    return [answer(number, letter == "1", task) for number, letter in enumerate(rights)]


def test_items_are_paired_by_text_wherever_they_stand() -> None:
    before, after = asked("0011"), asked("0101")
    found = facts.compare("a", "b", before, [*after[::-1], answer(9, True)])
    assert [change.prompt for change in found.learnt] == ["第1人 lives in"]
    assert [change.prompt for change in found.lost] == ["第2人 lives in"]
    assert (found.learnt[0].right, found.learnt[0].wrong) == ("Oslo", "Rome")
    assert found.unpaired == (0, 1)
    task = found.tasks["object_prediction"]
    assert (task.items, task.right_before, task.right_after, task.learnt, task.lost) == (4, 2, 2, 1, 1)
    assert task.verdict == "too_few" and task.p == 1.0


def test_an_item_that_stands_there_twice_counts_twice() -> None:
    found = facts.compare("a", "b", [answer(1, False), answer(1, True)], [answer(1, True), answer(1, True)])
    assert found.tasks["object_prediction"].items == 2 and len(found.learnt) == 1


@pytest.mark.parametrize(("learnt", "lost", "verdict"), [(30, 8, "real"), (12, 9, "within_noise"), (5, 0, "too_few")])
def test_the_test_is_that_of_scipy(learnt: int, lost: int, verdict: str) -> None:
    before = asked("0" * learnt + "1" * lost + "1" * 40)
    after = asked("1" * learnt + "0" * lost + "1" * 40)
    task = facts.compare("a", "b", before, after).tasks["object_prediction"]
    assert task.p == pytest.approx(scipy_stats.binomtest(learnt, learnt + lost, 0.5).pvalue, rel=1e-9)
    assert task.verdict == verdict


def test_without_a_true_difference_at_most_one_in_twenty_comparisons_calls_one_real() -> None:
    """Three tasks of 60 items, which both models answer equally well: all verdicts together err in at most 5 %."""
    draw, wrong, rounds = random.Random(3), 0, 200
    for _ in range(rounds):
        before, after = (
            [answer(number, draw.random() < 0.6, task) for task in "abc" for number in range(60)] for _ in range(2)
        )
        found = facts.compare("a", "b", before, after)
        wrong += any(task.verdict == "real" for task in found.tasks.values())
    assert wrong / rounds <= 0.05


def test_words_tell_what_the_memory_did_and_steer_no_terminal() -> None:
    before = [answer(1, False, hit=False), answer(2, True, hit=True)]
    after = [answer(1, True, hit=True), answer(2, False, hit=False)]
    words = "\n".join(facts.compare("a", "b", before, after).describe())
    assert "第1人 lives in | Oslo (not: Rome); its row is read now" in words
    assert "第2人 lives in | Oslo (not: Rome); its row is no longer read" in words
    hostile = [replace(answer(1, right), prompt="\x1b[2Jgone\nnext: rm") for right in (False, True)]
    assert "\x1b" not in "".join(facts.compare("a", "b", hostile[:1], hostile[1:]).describe())


def test_nothing_in_common_is_told() -> None:
    with pytest.raises(UsageError, match="no task item was asked of both"):
        facts.compare("a", "b", asked("01"), asked("01", "relation_reasoning"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of which two name answers that lie in DVC's cache, one those of an experiment from elsewhere."""
    root = tmp_path_factory.mktemp("answers") / "project"
    made_records.bare_project(root)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {root}/../store\n")
    named = {"one": asked("0" * 30 + "1" * 10), "two": asked("1" * 30 + "0" * 10)}
    records = [made_records.made("old"), made_records.made("far"), made_records.made("forged")]
    for place, (name, rows) in enumerate(named.items()):
        md5 = str(place + 1) * 32
        answers.write(root / ".dvc/cache/files/md5" / md5[:2] / md5[2:], rows)
        records.append(made_records.made(name, {"dim": 256 * (place + 1)}))
        records[-1]["results"]["items"] = {"md5": md5, "size": 1}
    records[1]["results"]["items"] = {"md5": "9" * 32, "size": 1}
    records[2]["results"]["items"] = {"md5": "../../../../etc/passwd", "size": 1}
    made_records.write(root, *records)
    return root


def test_the_verb_lists_them(root: Path) -> None:
    done = explicitlm(root, "compare", "one", "two", "--facts")
    assert done.returncode == 0, done.stderr
    assert "0.25 -> 0.75 of 40 items, 30 learnt, 10 lost: real (McNemar p 0.0022)" in done.stdout
    assert "learnt: 30" in done.stdout and "and 10 more (--json has all)" in done.stdout
    found = json.loads(explicitlm(root, "compare", "one", "two", "--facts", "--json").stdout)
    assert len(found["learnt"]) == 30 and found["tasks"]["object_prediction"]["verdict"] == "real"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("one", "old"), "old kept no answers to task items"),
        (("one", "forged"), "forged kept no answers to task items"),
        (("one",), "--facts compares the answers of two experiments"),
    ],
)
def test_mistakes(root: Path, words: tuple[str, ...], cause: str) -> None:
    done = explicitlm(root, "compare", *words, "--facts")
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and len(lines) == 2 and lines[0].startswith("error: ") and cause in lines[0]


def test_answers_that_are_nowhere_are_told_in_one_line(root: Path) -> None:
    done = explicitlm(root, "compare", "one", "far", "--facts")
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode and len(lines) == 2 and "neither in the cache nor on remote" in lines[0]
