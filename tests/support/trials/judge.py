"""What came of a trial, by what is on the disk.

ok: everything is as it would be without the fault, or the record says what is otherwise. lost: something that was there
is gone. silent: the commands said that all was well, and it is not. unclear: nobody knew how to go on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox import Sandbox

Verdict = Literal["ok", "lost", "silent", "unclear"]


@dataclass
class Judgement:
    """The verdict with its reasons."""

    verdict: Verdict = "ok"
    reasons: list[str] = field(default_factory=list)

    def find(self, verdict: Verdict, reason: str) -> None:
        """Adds a finding; the worst counts."""
        order = ("ok", "unclear", "silent", "lost")
        self.verdict = max(self.verdict, verdict, key=order.index)
        self.reasons.append(f"{verdict}: {reason}")


@dataclass
class Before:
    """What must still be there afterwards.

    Attributes:
        commits: the user's. files: text that the user wrote, by path; it may be in the file, or in a commit.
        trained: whether the training had said "done". states: resume states that were whole, by name.
    """

    commits: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    trained: bool = False
    states: list[str] = field(default_factory=list)
    trainings: int = 0


def is_published(box: Sandbox, experiment: str = "x") -> bool:
    """Whether an experiment is finished, tagged, and recorded in a commit of some branch."""
    record = published(box, experiment)
    return record is not None and record["status"] == "finished" and bool(_try(box, "tag", "--list", experiment))


def published(box: Sandbox, experiment: str = "x") -> dict[str, Any] | None:
    """The record as a branch has it."""
    path = f"experiments/records/{experiment}.json"
    for branch in _try(box, "for-each-ref", "--format=%(refname)", "refs/heads").split():
        if text := _try(box, "show", f"{branch}:{path}"):
            found: dict[str, Any] = json.loads(text)
            return found
    return None


def seen(box: Sandbox, work: Path, experiment: str = "x") -> Before:
    """What there is at this moment: states and finished trainings wherever the run keeps them, and the commits."""
    before = Before(commits=_try(box, "rev-parse", "--branches").split())
    for root in (box.root, box.root / f".explicitlm/cluster/{experiment}", work / "node" / experiment):
        run = root / ".explicitlm/runs" / experiment
        before.states += [path.name for path in run.glob("states/step-*")]
        status = run / "status.json"
        before.trained |= status.exists() and json.loads(status.read_text()).get("status") == "done"
    before.trainings = len(trainings(work))
    return before


def judge(
    box: Sandbox, work: Path, before: Before, reference: dict[str, Any], reached: bool, said: list[str]
) -> Judgement:
    """Judges a trial.

    Args:
        box: the project. work: the folder of the trial. before: what was there when the fault came.
        reference: the record of the same experiment without a fault. reached: whether the user's commands ended well.
        said: what they printed, the command under the fault first.
    """
    result = Judgement()
    _the_users_own(box, before, result)
    record = published(box)
    if not reached:
        result.find("unclear", "the hints do not lead to the end")
    elif record is None or not is_published(box):
        result.find("silent", "the commands ended well, but there is no published record")
    else:
        _contents(box, work, record, reference, result)
    if before.trained and record is not None and record["status"] != "finished":
        result.find("lost", f"the training was done; its record says {record['status']}")
    _not_trained_twice(work, before, result)
    for output in said[1:]:
        if "Traceback (most recent call last)" in output:
            result.find("unclear", "a traceback")
    return result


def _the_users_own(box: Sandbox, before: Before, result: Judgement) -> None:
    reachable = _try(box, "rev-list", "--branches", "--tags").split()
    for commit in before.commits:
        if commit not in reachable:
            result.find("lost", f"the user's commit {commit[:8]}")
    for path, text in before.files.items():
        copies = box.root.rglob(Path(path).name)  # a hint may have put it aside, beside where it was
        here = any(file.is_file() and text in file.read_text(errors="replace") for file in copies)
        if not here and not any(text in _try(box, "show", f"{commit}:{path}") for commit in reachable):
            result.find("lost", f"the user's text in {path}")


def _not_trained_twice(work: Path, before: Before, result: Judgement) -> None:
    later = trainings(work)[before.trainings :]
    if before.states and any("--resume" not in words for words in later):
        result.find("lost", f"states {', '.join(before.states)}: it trained from the beginning again")


def _contents(box: Sandbox, work: Path, record: dict[str, Any], reference: dict[str, Any], result: Judgement) -> None:
    findings = record["findings"]["changed_during_run"]
    if record["hyperparameters"] != reference["hyperparameters"]:
        result.find("silent", "the record has other parameters than were asked for")
    ours, theirs = record["versions"], reference["versions"]
    if ours["checkpoint_hash"] != theirs["checkpoint_hash"] and not (findings or record["code"]["dirty"]):
        result.find("silent", "other weights than without the fault, and no finding says why")
    if _hashes(record) != _hashes(reference) and not findings:
        result.find("silent", "other data than without the fault")
    tagged = _try(box, "show", "refs/tags/x:experiments/checkpoints/x.dvc")
    if ours["checkpoint_hash"] not in tagged:
        result.find("silent", "the tag holds other weights than the record names")
    _bytes(box, work, ours["checkpoint_hash"], result)
    for md5 in filter(None, _hashes(record)):
        _bytes(box, work, md5, result)


def _hashes(record: dict[str, Any]) -> list[str | None]:
    return [version and version["md5"] for version in record["data"].values()]


def _bytes(box: Sandbox, work: Path, md5: str, result: Judgement) -> None:
    """Every object of a version is on the remote and in the cache, with its true content."""
    places = {"the cache": box.root / ".dvc/cache/files/md5", "the remote": work / "explicitlm-storage/files/md5"}
    for name, folder in places.items():
        if not folder.exists():
            continue
        listed = folder / md5[:2] / md5[2:]
        parts = [md5]
        if md5.endswith(".dir") and listed.exists():
            parts += [entry["md5"] for entry in json.loads(listed.read_text())]
        for part in parts:
            path = folder / part[:2] / part[2:]
            whole = path.exists() and hashlib.md5(path.read_bytes()).hexdigest() == part.removesuffix(".dir")
            if not whole:
                result.find("silent", f"{name} has no true object {part[:8]}")


def trainings(work: Path) -> list[list[str]]:
    """The arguments of every training that was started, in order."""
    path = work / "trainings"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _try(box: Sandbox, *words: str) -> str:
    done = box.run("git", *words, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
