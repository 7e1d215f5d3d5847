"""Asking a finished model: what it goes on to say, and which rows it reads at every token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from explicitlm.common.errors import UsageError
from explicitlm.lm.memory.router import Candidates
from explicitlm.lm.training.checkpoint import Checkpoint

Choose = Callable[[Candidates], Tensor]


@dataclass(frozen=True)
class Read:
    """What one token read.

    token: its text; row: the bank row; text: what the row says; words: each token of the row with its weight in each
    reading layer.
    """

    token: str
    row: int
    text: str
    words: list[tuple[str, list[float]]]

    @property
    def weight(self) -> float:
        """The largest share that a layer gave to the row's words together; the rest read nothing."""
        layers = zip(*(weights for _, weights in self.words), strict=True)
        return max((sum(layer) for layer in layers), default=0.0)


def prompt_ids(checkpoint: Checkpoint, prompt: str) -> list[int]:
    """The ids of a prompt with its start mark; an overlong one loses its beginning."""
    tokenizer = checkpoint.tokenizer
    return [tokenizer.start_id, *tokenizer.encode(prompt)][-checkpoint.config.max_seq_len :]


@torch.inference_mode()
def generate(
    checkpoint: Checkpoint,
    prompt: str,
    length: int,
    temperature: float = 0.0,
    seed: int = 0,
    choose: Choose | None = None,
) -> str:
    """What the model says after a prompt, up to the end of the document.

    Args:
        length: tokens at most.
        temperature: 0 takes the likeliest token each time; else tokens are drawn, equally for an equal seed.
        choose: takes the place of reading the best row.
    """
    ids, draw = prompt_ids(checkpoint, prompt), torch.Generator().manual_seed(seed)
    generated: list[int] = []
    for _ in range(length):
        window = torch.tensor([[*ids, *generated][-checkpoint.config.max_seq_len :]])
        logits = checkpoint.model(window, choose=choose).logits_BSV[0, -1].float()
        logits[[checkpoint.tokenizer.pad_id, checkpoint.tokenizer.start_id]] = -torch.inf
        if temperature > 0:
            token = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=draw))
        else:
            token = int(logits.argmax())
        if token == checkpoint.tokenizer.end_id:
            break
        generated.append(token)
    return checkpoint.tokenizer.decode(generated)


@torch.inference_mode()
def trace(checkpoint: Checkpoint, prompt: str) -> list[Read]:
    """What each token of a prompt read.

    Raises:
        UsageError: the model does not read rows token by token.
    """
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    if model.router is None or model.bank is None:
        raise UsageError(
            "only models of the default form (router: content) read rows token by token", "trace another experiment"
        )
    ids = prompt_ids(checkpoint, prompt)
    output = model(torch.tensor([ids]))
    rows = output.selections[0].chosen_BS[0].tolist()
    reads = []
    for place, row in enumerate(rows):
        tokens = model.bank.read(torch.tensor(row)).tolist()
        token_weights = [
            (tokenizer.decode([token]), [float(weight[0, place, at]) for weight in output.weights])
            for at, token in enumerate(tokens)
            if token != tokenizer.pad_id
        ]
        name = tokenizer.decode([ids[place]]) or "<start>"
        reads.append(Read(name, row, tokenizer.decode([t for t in tokens if t != tokenizer.pad_id]), token_weights))
    return reads


def without(hidden: set[int]) -> Choose:
    """Reads the best row that is not hidden."""

    def choose(candidates: Candidates) -> Tensor:
        shown_TC = ~torch.isin(candidates.index_TC, torch.tensor(sorted(hidden)))
        return candidates.index_TC.gather(1, shown_TC.int().argmax(1, keepdim=True)).squeeze(1)

    return choose


def picture(reads: list[Read]) -> str:
    """A trace as an SVG image: one line a token, each word of its row as dark as its largest weight."""
    height, lines = 26, []
    for number, read in enumerate(reads):
        y = 20 + number * height
        lines.append(f'<text x="8" y="{y}" font-weight="bold">{escape(read.token)}</text>')
        x = 170
        for word, weights in read.words:
            shown = word.strip() or word
            width = 10 * len(shown.encode("utf-16-le")) // 2 + 10
            lines.append(
                f'<rect x="{x}" y="{y - 15}" width="{width}" height="20" fill="#1f6fb4" '
                f'fill-opacity="{max(weights):.2f}"/><text x="{x + 5}" y="{y}">{escape(shown)}</text>'
            )
            x += width + 4
    size = f'width="1100" height="{30 + len(reads) * height}"'
    style = 'font-family="monospace" font-size="14"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(lines) + "\n</svg>\n"
