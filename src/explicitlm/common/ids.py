"""What an experiment may be called: a name that is safe as a file, a git tag and a DVC experiment, on every system."""

from __future__ import annotations

import re

FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RULE = "letters, digits, '.', '_', '-'; no '..', no '.lock', '.dvc', '.json' or '.' at the end"
# Names that mean something else: to git, to DVC, or as folders of the project
RESERVED = frozenset(
    {
        *("run", "local", "jobs", "record", "records", "index", "readme", "workspace", "stash", "origin"),
        *("head", "main", "master", "database", "benchmarks", "embeddings", "knowledge_base", "cache"),
    }
)
RAW = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)  # git would read it as a commit, whatever tag there is


def is_id(name: str) -> bool:
    """Whether a name, typed or read from a file of unknown origin, can be an experiment's id."""
    low = name.lower()
    return (
        FORM.fullmatch(name) is not None
        and ".." not in name
        and not low.endswith((".", ".lock", ".dvc", ".json", ".tmp"))
        and low not in RESERVED
        and not low.endswith("_head")
        and not RAW.fullmatch(name)
    )
