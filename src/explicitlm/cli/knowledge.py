"""Verbs that read and change what a published model knows, and ask it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explicitlm.cli.options import AsJson, show, show_json
from explicitlm.common import layout, logs
from explicitlm.common.errors import UsageError

if TYPE_CHECKING:
    from explicitlm.lm.data.knowledge import Fact
    from explicitlm.lm.training.change import Change
    from explicitlm.lm.training.checkpoint import Checkpoint
    from explicitlm.vcs.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Read, search, change and trace what a published model knows.")
speaking = typer.Typer()

Id = Annotated[str, typer.Argument(metavar="ID", help="A published experiment.")]
Prompt = Annotated[str, typer.Argument(help="The beginning of a text.")]
RowNumber = Annotated[int | None, typer.Option("--row", min=0, help="The bank row, as search and show name it.")]
Find = Annotated[str, typer.Option("--find", metavar="WORDS", help="Instead of --row: words that only this fact says.")]
As = Annotated[str, typer.Option("--as", metavar="NEW_ID", help="Id of the new experiment.")]


def _open(experiment: str) -> tuple[Workspace, Checkpoint]:
    from explicitlm.lm.training import checkpoint
    from explicitlm.vcs.workspace import Workspace

    workspace = Workspace.find()
    folder = workspace.main / layout.weights(experiment)
    if not folder.is_dir():
        if not (workspace.main / layout.pointer_file(experiment)).exists():
            raise UsageError(f"there is no published experiment {experiment}", f"ls {layout.RECORDS}")
        raise UsageError(f"the weights of {experiment} are not here", f"dvc pull {layout.weights_pointer(experiment)}")
    return workspace, checkpoint.load(folder)


def _line(checkpoint: Checkpoint, row: int) -> dict[str, Any]:
    """A row as the verbs show it."""
    from explicitlm.lm.training.editing import bank_of

    bank = bank_of(checkpoint)
    if row >= bank.rows:
        raise UsageError(f"the bank has {bank.rows:,} rows, there is no row {row}", "the first row is 0")
    (text,) = bank.decode([row], checkpoint.tokenizer.decode)
    fact = checkpoint.facts.get(row)
    where = f"{fact.file}:{fact.line}" if fact and fact.file else None
    return {"row": row, "text": text, "kind": "fact" if fact else "implicit", "where": where}


def _print(lines: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json({"rows": lines})
        return
    for line in lines:
        score = f"  {line['similarity']:.3f}" if "similarity" in line else ""
        show(f"{line['row']:>7}  {line['kind']:<8}{score}  {line['text']}  ({line['where'] or 'no source'})")


@app.command("show", no_args_is_help=True)
def show_command(
    experiment: Id,
    start: Annotated[int, typer.Option("--from", min=0, help="First row.")] = 0,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many rows.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show rows of the memory bank as text, and where each fact comes from.

    Example:

      explicitlm knowledge show exp_001 --from 100 -n 5
    """
    from explicitlm.lm.training.editing import bank_of

    _, checkpoint = _open(experiment)
    stop = min(start + count, bank_of(checkpoint).rows)
    _print([_line(checkpoint, row) for row in range(start, stop)] or [_line(checkpoint, start)], as_json)


@app.command("search", no_args_is_help=True)
def search_command(
    experiment: Id,
    words: Annotated[str, typer.Argument(help="Words to look for.")],
    meaning: Annotated[
        bool, typer.Option("--meaning", help="Rows that the model itself finds after these words.")
    ] = False,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many rows.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Search rows that contain words, or those that the model finds after them.

    Examples:

      explicitlm knowledge search exp_001 Lindqvist

      explicitlm knowledge search exp_001 --meaning "Ada Lindqvist was born in"
    """
    import torch

    from explicitlm.lm.training import asking
    from explicitlm.lm.training.editing import bank_of

    _, checkpoint = _open(experiment)
    bank = bank_of(checkpoint)
    if not meaning:
        texts = enumerate(bank.decode(range(bank.rows), checkpoint.tokenizer.decode))
        found = [row for row, text in texts if words.casefold() in text.casefold()]
        _print([_line(checkpoint, row) for row in found[:count]], as_json)
        return
    with torch.inference_mode():
        output = checkpoint.model(torch.tensor([asking.prompt_ids(checkpoint, words)]))
    candidates = output.selections[-1].candidates_BSC[0, -1, :count].tolist()
    _print([_line(checkpoint, row) for row in candidates], as_json)


def _derived(experiment: str, new: str, change: Callable[[Checkpoint], Change], as_json: bool) -> None:
    """Changes a checkpoint and records the result as an experiment of its own."""
    from explicitlm.lm.training import checkpoint as checkpoints
    from explicitlm.lm.training.change import make
    from explicitlm.lm.typed import dump
    from explicitlm.records import derive, store
    from explicitlm.vcs.workspace import Workspace

    logs.set_up(quiet=as_json)
    derive.check_new(Workspace.find(), new)
    workspace, checkpoint = _open(experiment)
    repeat = change(checkpoint)
    summary = make(checkpoint, repeat)

    def write(folder: Path) -> None:
        checkpoints.save(folder, checkpoint.model, checkpoint.tokenizer, checkpoint.facts)

    parent = store.load(workspace.main, experiment)
    command = shlex.join(["explicitlm", *sys.argv[1:]])
    record = derive.derive(workspace, parent, derive.Change(new, command, summary, dict(repeat)), write)
    if as_json:
        show_json(dump(record))
    else:
        show(summary)
        show(f"next: git push origin HEAD {new}")


def _row(checkpoint: Checkpoint, row: int | None, text: str) -> int:
    """The row that was named, or found by words."""
    from explicitlm.lm.training.change import row_saying

    if (row is None) == (not text):
        raise UsageError("which fact?", "give --row NUMBER, or --find with words of its sentence")
    return row_saying(checkpoint, text) if row is None else row


@app.command("edit", no_args_is_help=True)
def edit_command(
    experiment: Id,
    object_text: Annotated[str, typer.Option("--object", help="The new object.")],
    new: As,
    row: RowNumber = None,
    text: Find = "",
    as_json: AsJson = False,
) -> None:
    """Write another object into a fact; the result is an experiment of its own. Nothing is trained.

    Example:

      explicitlm knowledge edit exp_001 --find "Marin Harenko lives in" --object Oslo --as exp_001_oslo
    """
    _derived(
        experiment, new, lambda found: {"verb": "edit", "row": _row(found, row, text), "object": object_text}, as_json
    )


@app.command("add", no_args_is_help=True)
def add_command(
    experiment: Id,
    sentence: Annotated[str, typer.Argument(help="The fact as a sentence.")],
    new: As,
    subject: Annotated[str, typer.Option(help="Whom it is about.")] = "",
    predicate: Annotated[str, typer.Option(help="What it says of them.")] = "",
    object_text: Annotated[str, typer.Option("--object", help="The words that answer a question about it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a new fact into a row that holds none; the result is an experiment of its own. Nothing is trained.

    Example:

      explicitlm knowledge add exp_001 "Ada Holm was born in Oslo." --object Oslo --as exp_001_ada
    """
    fact = {"sentence": sentence, "subject": subject, "predicate": predicate, "object": object_text}
    _derived(experiment, new, lambda _: {"verb": "add", **fact}, as_json)


@app.command("remove", no_args_is_help=True)
def remove_command(experiment: Id, new: As, row: RowNumber = None, text: Find = "", as_json: AsJson = False) -> None:
    """Empty the row of a fact; the result is an experiment of its own. Nothing is trained.

    Example:

      explicitlm knowledge remove exp_001 --row 17 --as exp_001_less
    """
    _derived(experiment, new, lambda found: {"verb": "remove", "row": _row(found, row, text)}, as_json)


@app.command("trace", no_args_is_help=True)
def trace_command(
    experiment: Id,
    prompt: Prompt,
    image: Annotated[Path | None, typer.Option("--svg", help="Write the picture to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show for each token which row was read, and how much of it in each layer.

    Example:

      explicitlm knowledge trace exp_001 "Ada Lindqvist was born in" --svg trace.svg
    """
    from explicitlm.common.files import write_text
    from explicitlm.lm.training import asking

    _, checkpoint = _open(experiment)
    reads = asking.trace(checkpoint, prompt)
    if image:
        write_text(image, asking.picture(reads))
    if as_json:
        show_json({"reads": [{**vars(read), "weight": read.weight} for read in reads]})
        return
    show(f"{'token':<16} {'row':>7}  weight a layer, the word read most, and the row")
    for read in reads:
        layers = zip(*(weights for _, weights in read.words), strict=True)
        shares = " ".join(f"{sum(layer):.2f}" for layer in layers) or "-"
        most_read = max(read.words, key=lambda item: max(item[1]), default=("", []))[0]
        show(f"{read.token!r:<16} {read.row:>7}  {shares}  {most_read!r}  {read.text}")


@app.command("why", no_args_is_help=True)
def why_command(experiment: Id, prompt: Prompt, as_json: AsJson = False) -> None:
    """Tell an answer, the row it was read from, where that fact comes from, and the answer without it.

    Example:

      explicitlm knowledge why exp_001 "Ada Lindqvist was born in"
    """
    from explicitlm.lm.training import asking
    from explicitlm.records import store

    workspace, checkpoint = _open(experiment)
    read = asking.trace(checkpoint, prompt)[-1]
    record = store.load(workspace.main, experiment)
    commit = record.versions.data["database_init_commit"]
    fact: Fact | None = checkpoint.facts.get(read.row)
    values: dict[str, Any] = {
        "answer": asking.generate(checkpoint, prompt, 16),
        "row": read.row,
        "text": read.text,
        "weight": round(read.weight, 4),
        "where": f"data/knowledge_base/{fact.file}:{fact.line}" if fact and fact.file else None,
        "commit": commit,
        "author": workspace.git.author_of(commit) if commit else None,
        "changed": record.lineage.change if record.lineage else None,
        "without_it": asking.generate(checkpoint, prompt, 16, choose=asking.without({read.row})),
    }
    if as_json:
        show_json(values)
        return
    show(f"answer:      {prompt}{values['answer']}")
    show(f"read:        row {read.row}, weight {read.weight:.2f}: {read.text}")
    nowhere = "no line of the knowledge base: " + ("it was put in later" if fact else "the row holds training text")
    show(f"from:        {values['where'] or nowhere}")
    if values["where"]:
        show(f"data commit: {commit or 'none'}{' by ' + values['author'] if values['author'] else ''}")
    if values["changed"]:
        show(f"changed:     {values['changed']}")
    show(f"without it:  {prompt}{values['without_it']}")


@speaking.command("generate", no_args_is_help=True)
def generate_command(
    experiment: Id,
    prompt: Prompt,
    length: Annotated[int, typer.Option("-n", "--tokens", min=1, help="Tokens at most.")] = 40,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest token each time; higher: freer.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at a temperature above 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Let a published model go on with a text.

    Example:

      explicitlm generate exp_001 "Ada Lindqvist was born in" --temperature 0.8 --seed 1
    """
    from explicitlm.lm.training import asking

    _, checkpoint = _open(experiment)
    generated = asking.generate(checkpoint, prompt, length, temperature, seed)
    if as_json:
        show_json({"prompt": prompt, "said": generated})
    else:
        show(f"{prompt}{generated}")
