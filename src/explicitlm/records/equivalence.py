"""Versions of lm/ that were seen to train alike: what `explicitlm same` notes, and whoever groups experiments reads.

Each finding is a file of its own under experiments/equivalent/, so that two people's never conflict.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from explicitlm.common import layout
from explicitlm.common.files import write_json
from explicitlm.common.shown import printable
from explicitlm.records.problem import Problem

_HASH = re.compile(r"[0-9a-f]{32}\.dir")


def note(root: Path, one: str, other: str, steps: int) -> str:
    """Notes that two versions trained alike for some steps, and gives the note's project-relative path.

    Args:
        one, other: DVC's hashes of lm/, as records hold them under `dependencies`.
    """
    pair = sorted((one, other))
    name = f"{layout.EQUIVALENT}/{pair[0][:12]}-{pair[1][:12]}.json"
    write_json(root / name, {"schema_version": 1, "lm": pair, "steps": steps})
    return name


def classes(root: Path) -> tuple[dict[str, str], list[Problem]]:
    """The hash that stands for all versions which train alike, by the hash of each; and the files that are no notes.

    What is like a third version is alike: a chain of refactorings keeps an old experiment comparable with a new one.
    """
    like: dict[str, str] = {}

    def standing_for(md5: str) -> str:
        while like.get(md5, md5) != md5:
            md5 = like[md5]
        return md5

    notes, problems = _notes(root)
    for pair, _ in notes:
        first, second = sorted(standing_for(md5) for md5 in pair)
        like[first] = like[second] = first
    return {md5: standing_for(md5) for md5 in like}, problems


def shown_steps(root: Path, one: str, other: str) -> int | None:
    """For how many steps two versions were seen to train alike; None where they were not.

    Where only a chain of notes joins them, its shortest training counts; of several chains the best.
    """
    reached = {one}
    notes, _ = _notes(root)
    for least in sorted({steps for _, steps in notes}, reverse=True):
        pairs = [pair for pair, steps in notes if steps >= least]
        while more := {md5 for pair in pairs if reached & set(pair) for md5 in pair} - reached:
            reached |= more
        if other in reached:
            return least
    return None


def _notes(root: Path) -> tuple[list[tuple[list[str], int]], list[Problem]]:
    """All notes, each as two hashes and the number of steps; and the files that are none."""
    notes, problems = [], []
    for path in sorted((root / layout.EQUIVALENT).glob("*.json")):
        try:
            notes.append(_read(path))
        except (ValueError, OSError, RecursionError) as error:
            problems.append(Problem(printable(str(path.relative_to(root))), f"it notes no equal versions ({error})"))
    return notes, problems


def _read(path: Path) -> tuple[list[str], int]:
    """The two hashes of a note, and its number of steps.

    Raises:
        ValueError: it is none.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError("no file of its own")
    content: Any = json.loads(path.read_bytes())
    if not isinstance(content, dict) or content.get("schema_version") != 1:
        raise ValueError("another form")
    pair = content.get("lm")
    if not isinstance(pair, list) or len(pair) != 2:
        raise ValueError("no two hashes")
    if not all(isinstance(md5, str) and _HASH.fullmatch(md5) for md5 in pair):
        raise ValueError("no two hashes")
    steps = content.get("steps")
    if type(steps) is not int:
        raise ValueError("no number of steps")
    return pair, steps
