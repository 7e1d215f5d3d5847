"""What a comparison reads besides the records: lists of files in DVC's cache, code in git."""

from __future__ import annotations

import json
import re
from pathlib import Path

from explicitlm.common import layout
from explicitlm.comparison.pair import Listing, Stat
from explicitlm.vcs.dvc_config import cache_dir
from explicitlm.vcs.workspace import Workspace

_HASH = re.compile(r"[0-9a-f]{32}\.dir")  # a record may come from anyone: nothing else becomes a path


def file_lists(main: Path) -> Listing:
    """Gives the files of a data version by its hash, if its list is in the cache of the project at `main`."""

    def listing(md5: str) -> dict[str, str] | None:
        if not _HASH.fullmatch(md5):
            return None
        cache = cache_dir(main) / "files/md5"
        try:
            entries = json.loads((cache / md5[:2] / md5[2:]).read_text(encoding="utf-8"))
            return {entry["relpath"]: entry["md5"] for entry in entries}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    return listing


def code_changes(workspace: Workspace) -> Stat:
    """Gives `git diff --stat` of what decides the weights."""
    return lambda before, after: workspace.git.diff_stat(before, after, layout.WEIGHT_CODE)
