"""Whether a model that was trained again answers the task items as its record says."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.errors import ExplicitLMError
from explicitlm.comparison import facts, sources
from explicitlm.proof import tree as trees
from explicitlm.records.schema import Items
from explicitlm.records.verdict import Difference
from explicitlm.vcs.pointer import Pointer
from explicitlm.vcs.workspace import Workspace

logger = logging.getLogger(__name__)


def difference(tree: Workspace, recorded: Items) -> Difference | None:
    """What is otherwise in the answers that a training left in a tree; None where they are the recorded ones.

    Files of another hash are compared row by row: another version of zstandard packs equal answers into other bytes.
    """
    file = tree.workdir / layout.ITEMS
    md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() if file.is_file() else None
    if md5 == recorded.md5:
        return None
    what = "task items"
    if md5:
        try:
            before, after = sources.read_answers(_fetch(tree, recorded)), sources.read_answers(file)
        except ExplicitLMError as error:
            logger.warning(f"the answers have another hash and cannot be compared one by one: {error.cause}")
            what = "task items (the answers cannot be compared in detail)"
        else:
            unequal = facts.count_unequal(before, after)
            if not unequal:
                logger.info("the answers are equal; only their files are packed otherwise")
                return None
            what = f"{unequal} of {max(len(before), len(after))} task items"
    return Difference(cause="answers", what=what, was=recorded.md5[:8], now=md5 and md5[:8])


def _fetch(tree: Workspace, recorded: Items) -> Path:
    """The recorded file in the cache.

    Raises:
        ExplicitLMError: it is nowhere, or the remote is out of reach.
    """
    pointer = Pointer(recorded.md5, recorded.size, None, Path(layout.ITEMS).name)
    with tree.open_store() as data_store:
        trees.fetch_sound(data_store, layout.ITEMS, pointer)
    return sources.fetch_answers(tree, recorded.md5)
