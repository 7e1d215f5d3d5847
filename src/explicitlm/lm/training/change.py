"""A change of what a model knows, as data: what a record keeps of it, and what makes the same bytes again.

python -m explicitlm.lm.training.change PARENT_FOLDER NEW_FOLDER '{"verb": "edit", "row": 17, "object": "Oslo"}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from explicitlm.common.errors import UsageError, run_reporting
from explicitlm.lm.data.knowledge import Fact
from explicitlm.lm.training import checkpoint as checkpoints
from explicitlm.lm.training.checkpoint import Checkpoint
from explicitlm.lm.training.editing import add_fact, edit_fact, fact_at, remove_fact

Change = Mapping[str, str | int]
_ADDED = ("sentence", "subject", "predicate", "object")


def make(checkpoint: Checkpoint, change: Change) -> str:
    """Applies a change in place and says what is different.

    Args:
        change: verb edit (row, object), remove (row) or add (sentence, subject, predicate, object).

    Raises:
        UsageError: it does not fit this checkpoint, or is of no such kind.
    """
    try:
        if change["verb"] == "add":
            sentence, subject, predicate, object_text = (str(change[key]) for key in _ADDED)
            row = add_fact(checkpoint, Fact(sentence, None, subject, predicate, object_text))
            return f"row {row}: + {sentence!r}"
        row = int(change["row"])
        if change["verb"] == "edit":
            before = fact_at(checkpoint, row)
            return f"row {row}: {before.sentence!r} -> {edit_fact(checkpoint, row, str(change['object'])).sentence!r}"
        if change["verb"] == "remove":
            return f"row {row}: - {remove_fact(checkpoint, row).sentence!r}"
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{dict(change)} is no change of knowledge ({error!r})", "explicitlm knowledge --help"
        ) from None
    raise UsageError(f"{change['verb']!r} is no change of knowledge", "explicitlm knowledge --help")


def row_saying(checkpoint: Checkpoint, phrase: str) -> int:
    """The row of the only fact whose sentence contains some words.

    Raises:
        UsageError: none does, or several do.
    """
    found = [row for row, fact in sorted(checkpoint.facts.items()) if phrase.casefold() in fact.sentence.casefold()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no fact says {phrase!r}", "explicitlm knowledge search ID WORDS")
    some = "; ".join(f"row {row}: {checkpoint.facts[row].sentence}" for row in found[:3])
    raise UsageError(f"{len(found)} facts say {phrase!r}, such as {some}", "give more of the words, or --row")


def _main() -> None:
    parent, new, text = sys.argv[1:]
    checkpoint = checkpoints.load(parent)
    make(checkpoint, json.loads(text))
    checkpoints.save(Path(new), checkpoint.model, checkpoint.tokenizer, checkpoint.facts)


if __name__ == "__main__":
    sys.exit(run_reporting(_main))
