"""Which experiments are prepared for the cluster and not home yet, and what each of them waits for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from explicitlm.cluster import receipt
from explicitlm.common import layout


@dataclass(frozen=True)
class Pending:
    """One experiment that `pre` prepared and `post` has not published as finished.

    Attributes:
        sealed_at: when it was prepared, UTC.
        pushed_to: the place that `push` filled last, None without a push (as on a shared file system).
        returned: how the training that is back here ended, None while nothing sealed is back.
        next: the command that continues it.
    """

    id: str
    sealed_at: str
    pushed_to: str | None
    returned: str | None
    next: str

    def line(self) -> str:
        """One line for people."""
        where = f", pushed to {self.pushed_to}" if self.pushed_to else ""
        back = f", back: {self.returned}" if self.returned else ""
        return f"{self.id}: prepared {self.sealed_at}{where}{back}; next: {self.next}"

    def as_dict(self) -> dict[str, str | None]:
        """The same for machines."""
        return asdict(self)


def pending(main: Path) -> list[Pending]:
    """All of them, by id."""
    return [_look(sent.parents[1]) for sent in sorted((main / layout.CLUSTER).glob(f"*/{layout.SENT}"))]


def _look(tree: Path) -> Pending:
    experiment, pushed = tree.name, tree / layout.PUSHED
    place = pushed.read_text(encoding="utf-8").strip() if pushed.exists() else None
    returned = receipt.load_returned(tree, experiment).status if (tree / layout.RETURNED).exists() else None
    if returned:
        following = f"explicitlm cluster post {experiment}"
    elif place:
        following = f"explicitlm cluster train {experiment} there, then explicitlm cluster fetch {experiment} {place}"
    else:
        following = f"explicitlm cluster push {experiment} HOST:DIR, or explicitlm cluster train {experiment} here"
    return Pending(experiment, receipt.load_sent(tree).sealed_at, place, returned, following)
