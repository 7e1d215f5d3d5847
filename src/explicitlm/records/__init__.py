"""What is kept of each experiment. In a notebook: `from explicitlm import records; records.frame()`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def frame(root: str | Path | None = None) -> pandas.DataFrame:
    """All experiments as a table of pandas, one row each, oldest first, indexed by id.

    Columns are named as in `explicitlm compare`: `learning_rate`, `val_loss`, `data.database`, `code.lm`,
    `environment.device`. Files that are no records are told as warnings and left out.

    Args:
        root: the project; None: the one that holds the current directory.

    Raises:
        UsageError: pandas is not installed, or there is no project.
    """
    import warnings

    from explicitlm.common.errors import UsageError
    from explicitlm.records import rows
    from explicitlm.vcs.workspace import Workspace

    try:
        import pandas
    except ImportError:
        raise UsageError("records.frame() needs pandas", "pip install 'explicitlm[notebook]'") from None
    found = rows.load(Path(root) if root else Workspace.find().main)
    for problem in found.problems:
        warnings.warn(str(problem), stacklevel=2)
    return pandas.DataFrame([_flat(row) for row in found.rows]).set_index("id") if found.rows else pandas.DataFrame()


def _flat(row: Any) -> dict[str, Any]:
    named = {f"{section}.{name}": value for section in ("data", "code", "environment")
             for name, value in getattr(row, section).items()}  # fmt: skip
    return {**row.head, **row.params, **row.metrics, **named}
