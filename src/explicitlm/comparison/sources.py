"""What a comparison reads besides the records: lists of files and answers in DVC's cache, code in git."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.comparison.pair import Listing, Stat
from explicitlm.records import equivalence
from explicitlm.records.rows import Row
from explicitlm.vcs.dvc_config import cache_dir
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

if TYPE_CHECKING:
    from explicitlm.lm.data.answers import Answer

_LIST = re.compile(r"[0-9a-f]{32}\.dir")  # a record may come from anyone: nothing else becomes a path
_FILE = re.compile(r"[0-9a-f]{32}")


def file_lists(main: Path) -> Listing:
    """Gives the files of a data version by its hash, if its list is in the cache of the project at `main`."""

    def listing(md5: str) -> dict[str, str] | None:
        if not _LIST.fullmatch(md5):
            return None
        try:
            entries = json.loads(_object(main, md5).read_text(encoding="utf-8"))
            return {entry["relpath"]: entry["md5"] for entry in entries}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    return listing


def _object(main: Path, md5: str) -> Path:
    return cache_dir(main) / "files/md5" / md5[:2] / md5[2:]


def answers_of(workspace: Workspace, row: Row, fetch: bool = True) -> list[Answer] | None:
    """What an experiment's model answered to the task items; None where that is not in the cache.

    Args:
        fetch: bring it from the remote where the cache lacks it.

    Raises:
        UsageError: the experiment kept no answers. DataError, StorageError: the remote has none, or is out of reach.
    """
    md5 = row.head["items"]
    if md5 is None or not _FILE.fullmatch(md5):
        raise UsageError(f"{row.id} kept no answers to task items", "explicitlm compare --columns id,status,items "
                         "shows which experiments have some")  # fmt: skip
    path = fetch_answers(workspace, md5) if fetch else _object(workspace.main, md5)
    return read_answers(path) if path.exists() else None


def read_answers(path: Path) -> list[Answer]:
    """The answers in a file.

    Raises:
        DataError: it is something else, or damaged.
    """
    from explicitlm.lm.data import answers  # with zstd, which other comparisons need not wait for

    return answers.read(path)


def fetch_answers(workspace: Workspace, md5: str) -> Path:
    """The file of answers with this hash in the cache, to which it is brought from the remote if need be.

    Raises:
        DataError, StorageError: the remote has none, or is out of reach.
    """
    path = _object(workspace.main, md5)
    if not path.exists():
        with workspace.open_store() as data_store:
            data_store.fetch({layout.ITEMS: Pointer(md5, None, None, Path(layout.ITEMS).name)})
    return path


def shown_alike(main: Path, first: Row, second: Row) -> int | None:
    """For how many steps `explicitlm same` saw two other versions of lm/ train alike; None where it did not."""
    before, after = first.code.get("lm"), second.code.get("lm")
    if not before or not after or before == after or first.alike is None or first.alike != second.alike:
        return None
    return equivalence.shown_steps(main, before, after)


def code_changes(workspace: Workspace) -> Stat:
    """Gives `git diff --stat` of what decides the weights."""
    return lambda before, after: workspace.git.diff_stat(before, after, layout.WEIGHT_CODE)
