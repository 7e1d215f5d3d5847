"""push and fetch: rsync with the exact list of files of a receipt, and nothing else.

No .git, no cache, no other experiment's weights, no credentials. Links arrive as files. A cut transfer goes on where it
stopped, and leaves no half file under a final name. Data that an earlier push brought to the same place is linked.
"""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from explicitlm.cluster import receipt, trees
from explicitlm.common import layout
from explicitlm.common.errors import StorageError, UsageError
from explicitlm.common.files import write_json, write_text
from explicitlm.vcs.pipeline_file import PipelineFile

logger = logging.getLogger(__name__)

PUSHES = f"{layout.CLUSTER}/pushed.json"  # in the main checkout: what is where, for the next push to link from
SIBLINGS = 20  # rsync takes no more folders to link from
SILENCE_S = 60  # without a byte for so long, the line is taken as cut
OPTIONS = ("--archive", "--keep-dirlinks", "--no-owner", "--no-group", "--copy-links", "--partial-dir=.rsync-partial")
VANISHED = 24  # rsync's exit code: files that it had listed were removed meanwhile, as by a training that runs on
EXIT_CODES = {
    10: "the connection broke",
    11: "a file could not be written: is the disk full?",
    12: "the connection broke, or rsync is not installed there",
    23: "some files could not be transferred",
    VANISHED: "some files vanished meanwhile",
    30: "the connection was silent for too long",
    35: "no connection within the time limit",
    127: "rsync is not installed",
    255: "ssh could not connect",
}


def push(main: Path, experiment: str, place: str) -> None:
    """Sends a prepared experiment to `place`/<id>.

    Args:
        place: HOST:DIR as rsync knows it, or a folder of this machine.

    Raises:
        StorageError: rsync's reason; the same command again goes on.
    """
    tree = trees.prepared_tree(main, experiment)
    target = _target(place, experiment)
    if ":" not in place:
        Path(target).mkdir(parents=True, exist_ok=True)
    _rsync(push_command(main, experiment, place), f"push of {experiment} to {place}")
    write_text(tree / layout.PUSHED, place + "\n")
    _note_push(main, experiment, place)
    logger.info(f"pushed: {target}")


def push_command(main: Path, experiment: str, place: str) -> list[str]:
    """The rsync command of `push`; its list of files is written beside the receipt."""
    tree = trees.prepared_tree(main, experiment)
    listed = tree / ".explicitlm/push-files"
    _write_list(listed, [layout.SENT, *receipt.load_sent(tree).files])
    links = [f"--link-dest=../{other}/" for other in _pushed_before(main, place) if other != experiment]
    return [
        *_start(place, experiment),
        *links,
        "--from0",
        f"--files-from={listed}",
        f"{tree}/",
        _target(place, experiment) + "/",
    ]


def fetch(main: Path, experiment: str, place: str) -> None:
    """Brings back what a training left in `place`/<id>; of one that runs still or was killed, what there is so far.

    Raises:
        UsageError: nothing is sealed there yet; its log, curves and reports have come all the same.
        StorageError: with the reason that rsync gives.
    """
    tree = trees.prepared_tree(main, experiment)
    sealed, backup = tree / layout.RETURNED, tree / f"{layout.RETURNED}.before"
    if sealed.exists():  # of an earlier try; stale once newer files have come, and as good as ever if none do
        sealed.replace(backup)
    try:
        _rsync(fetch_command(main, experiment, place), f"fetch of {experiment} from {place}", accepted=(VANISHED,))
    except BaseException:
        if backup.exists() and not sealed.exists():
            backup.replace(sealed)
        raise
    backup.unlink(missing_ok=True)
    if not sealed.exists():
        raise UsageError(
            f"{experiment} is not sealed in {place}: it has not trained there, trains still, or was killed "
            f"(its log so far: {tree / layout.log(experiment)})",
            f"wait, or explicitlm cluster train {experiment} there continues it; "
            f"if it was killed for good: explicitlm cluster post {experiment} --killed",
        )
    logger.info(f"fetched: {len(receipt.load_returned(tree, experiment).files)} files")


def fetch_command(main: Path, experiment: str, place: str) -> list[str]:
    """The rsync command of `fetch`: the receipt, and everything that a receipt may list."""
    tree = trees.prepared_tree(main, experiment)
    log, reports = layout.log(experiment), layout.run_dir(experiment)
    names = [layout.RETURNED, log, *PipelineFile(tree).outputs("train"), reports]
    filters = [f"--exclude=/{reports}/states", *_only(names)]
    return [*_start(place), *filters, _target(place, experiment) + "/", f"{tree}/"]


def _start(place: str, make: str = "") -> list[str]:
    args = ["rsync", *OPTIONS, f"--timeout={SILENCE_S}"]
    if make and ":" in place:  # rsync's own --mkpath is newer than many clusters
        folder = _target(place, make).split(":", 1)[1]
        args.append(f"--rsync-path=mkdir -p {shlex.quote(folder)} && rsync")
    if sys.stderr.isatty():
        args.append("--info=progress2")
    return args


def _rsync(command: list[str], what: str, accepted: tuple[int, ...] = ()) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise StorageError("rsync is not installed", "apt-get install rsync") from None
    if done.returncode and done.returncode not in accepted:
        errors = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("rsync error")]
        reason = EXIT_CODES.get(done.returncode, f"rsync ended with {done.returncode}")
        raise StorageError(f"{what}: {reason} ({'; '.join(errors[:2])})", "the same command goes on where it stopped")


def _target(place: str, experiment: str) -> str:
    if not place or place.endswith(":"):
        raise UsageError(f"{place!r} is not a place", f"explicitlm cluster push {experiment} HOST:DIR")
    return f"{place.rstrip('/')}/{experiment}"


def _pushed_before(main: Path, place: str) -> list[str]:
    """Experiments that were pushed to the same place, newest first; also those that are home and gone from here."""
    return list(_pushes(main).get(place, []))


def _note_push(main: Path, experiment: str, place: str) -> None:
    before = [other for other in _pushed_before(main, place) if other != experiment]
    write_json(main / PUSHES, _pushes(main) | {place: [experiment, *before][:SIBLINGS]})


def _pushes(main: Path) -> dict[str, list[str]]:
    """Experiments by place; nothing but time is lost with it."""
    try:
        return dict(json.loads((main / PUSHES).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _only(names: Iterable[str]) -> list[str]:
    """rsync filters for these files and folders with all they hold, present or not, and nothing else."""
    rules = []
    for name in names:
        parents = [f"/{parent.as_posix()}/" for parent in reversed(Path(name).parents) if parent != Path()]
        rules += [f"--include={parent}" for parent in parents] + [f"--include=/{name}", f"--include=/{name}/**"]
    return [*dict.fromkeys(rules), "--exclude=*"]


def _write_list(path: Path, names: Iterable[str]) -> None:
    write_text(path, "".join(f"{name}\0" for name in names))
