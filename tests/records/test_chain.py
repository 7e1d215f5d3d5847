"""Two digest chains side by side: where they part and in what, whoever wrote them."""

from __future__ import annotations

import pytest

from explicitlm.common.errors import DataError
from explicitlm.records import chain

HEADER = "step,batches,rng,optimizer,weights,bank,index,chain"
ROWS = ("0,b,r,o,w,k,i,c", "1,b,r,o,w,k,i,c", "2,b,r,o,w,k,i,c")


def text(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def test_equal_chains_share_every_link() -> None:
    found = chain.compare(text(*ROWS), text(*ROWS[:2]))
    assert (found.steps, found.last_equal, found.first_divergent, found.part) == (1, 1, None, None)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("1,B,r,o,w,k,i,c", ["order of data"]),
        ("1,b,R,o,W,k,i,c", ["random state", "weights"]),
        ("1,b,r,O,W,k,i,c", ["optimizer", "weights"]),
        ("1,b,r,o,w,K,i,c", ["bank"]),
        ("1,b,r,o,w,k,I,c", ["bank"]),
        ("1,b,r,o,w,K,I,c", ["bank"]),
    ],
)
def test_the_first_link_that_differs_names_causes_before_effects(row: str, parts: list[str]) -> None:
    found = chain.compare(text(*ROWS), text(ROWS[0], row, "2,x,x,x,x,x,x,x"))
    assert (found.last_equal, found.first_divergent, found.parts) == (0, 1, parts)


def test_a_chain_without_the_index_is_compared_in_what_it_has() -> None:
    earlier = text(*(row.replace(",i,", ",") for row in ROWS), header=HEADER.replace("index,", ""))
    assert chain.compare(earlier, text(*ROWS)).first_divergent is None
    assert chain.compare(earlier, text(ROWS[0], "1,b,r,o,w,K,i,c")).parts == ["bank"]


@pytest.mark.parametrize(
    ("damaged", "cause"),
    [
        ("", "missing"),
        (text("0,x", header="step,digest"), "earlier form"),
        (text("x,b,r,o,w,k,i,c"), "damaged"),
        (text(f"{'1' * 5000},b,r,o,w,k,i,c"), "damaged"),
        (text(f"0,{'b' * 200_000},r,o,w,k,i,c"), "damaged"),
        (text("7,b,r,o,w,k,i,c"), "no step in common"),
    ],
)
def test_what_is_no_chain_is_one_clear_line(damaged: str, cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        chain.compare(damaged, text(*ROWS))
