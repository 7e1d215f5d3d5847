"""What the dvc.lock of a branch names as the outs of `train`: an empty folder of weights, an empty file of answers.

Without a hash for these outs a plain `dvc pull` in a fresh clone would bring the data and then fail; with those of the
last run two people who publish would meet a conflict at each `git pull`. An experiment's own commit has its own
dvc.lock. Both objects go to the remote with what is published, so that a clone finds them there.
"""

from __future__ import annotations

import hashlib

from explicitlm.common import layout
from explicitlm.vcs.data_store import DataStore
from explicitlm.vcs.pointer import Pointer

CONTENTS = {layout.CHECKPOINT: ("run", "[]", ".dir"), layout.ITEMS: ("no-items", "", "")}


def empty_outs(store: DataStore) -> dict[str, Pointer]:
    """The two versions, put into the cache where it lacks them, by a name for each that no other version has."""
    found = {}
    for path, (name, content, suffix) in CONTENTS.items():
        md5 = hashlib.md5(content.encode(), usedforsecurity=False).hexdigest() + suffix
        store.put(md5, content)
        found[f"{path} (empty)"] = Pointer(md5, 0, 0 if suffix else None, name)
    return found
