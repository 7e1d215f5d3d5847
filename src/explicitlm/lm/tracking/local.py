"""Metrics in plain files, written by the training itself: they exist whatever happens to any tracker.

train.csv and val.csv hold one row a logged step (`dvc plots show` draws them with `x: step`), metrics.json the numbers
of the latest evaluation (`dvc exp show`, also while training runs: that a run is finished, result.json alone says).
A row is one unbuffered write: after SIGKILL every logged row is there.
Numbers are written as Python's shortest exact form, so equal runs write equal bytes.

dvclive is not used: it buffers, rewrites its files at each step, and has no place to cut a file back to a resume state.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from explicitlm.common.files import write_text

SUMMARY_NAME = "metrics.json"


class MetricsWriter:
    """Writes `<prefix>.csv` for every key `<prefix>/<name>`, and metrics.json at each evaluation.

    Args:
        folder: where the files go; it is made when missing.
        resume_step: None starts empty and removes what an earlier run left there; a step keeps the
            rows up to and including it and drops the later ones, which the resumed run will log again.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, resume_step: int | None = None) -> None:
        self.folder = folder
        self._tables: dict[str, _Table] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMMARY_NAME).unlink(missing_ok=True)  # of an earlier run
        for name in ("train", "val"):
            path = folder / f"{name}.csv"
            if resume_step is None:
                path.unlink(missing_ok=True)
            else:
                _drop_after(path, resume_step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Appends one row to each file that `values` has keys for; it is on its way to disk on return.

        Args:
            step: the optimizer step, the first column.
            values: numbers by full key, such as {"train/loss_ce": 3.2}. The first row of a file sets its
                columns; a key that comes later gets a new last column, one that is missing an empty cell.

        Raises:
            ValueError: a key whose prefix is neither train nor val.
            OSError: the disk does not take the row.
        """
        rows: dict[str, dict[str, float]] = {}
        for key, value in values.items():
            prefix, _, name = key.partition("/")
            if prefix not in ("train", "val") or not name:
                raise ValueError(f"metric key {key!r} must be train/<name> or val/<name>")
            rows.setdefault(prefix, {})[key] = value
        for prefix, row in rows.items():
            table = self._tables.get(prefix)
            if table is None:
                table = self._tables[prefix] = _Table(self.folder / f"{prefix}.csv")
            table.append(step, row)

    def summary(self, values: Mapping[str, float | int | str | None]) -> None:
        """Writes metrics.json atomically: flat, in the order given, which is that of the columns of `dvc exp show`.

        A number that is not finite becomes null.
        """
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        text = json.dumps(clean, indent=2, ensure_ascii=False, allow_nan=False)
        write_text(self.folder / SUMMARY_NAME, text + "\n")

    def close(self) -> None:
        """Closes the files; a later log() opens them again."""
        for table in self._tables.values():
            table.close()
        self._tables.clear()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Table:
    """One CSV file, open for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns = _header(path)
        self._file: IO[bytes] = path.open("ab", buffering=0)

    def append(self, step: int, row: Mapping[str, float]) -> None:
        new_keys = [key for key in row if key not in self._columns]
        if new_keys:
            self._widen(new_keys)
        cells = [str(step), *(_number(row[key]) if key in row else "" for key in self._columns[1:])]
        line = memoryview(_line(cells).encode())
        while line:  # a raw file may take a part only, on a disk that is nearly full
            line = line[self._file.write(line) :]

    def close(self) -> None:
        self._file.close()

    def _widen(self, new_keys: Sequence[str]) -> None:
        """Puts new columns at the right end of the header and an empty cell in every earlier row."""
        rows = _read(self.path)[1:]
        self._columns = [*(self._columns or ["step"]), *new_keys]
        body = [_line([*row, *[""] * (len(self._columns) - len(row))]) for row in rows]
        self._file.close()
        write_text(self.path, "".join([_line(self._columns), *body]))
        self._file = self.path.open("ab", buffering=0)


def _number(value: float) -> str:
    """The shortest text that reads back as the same number, on every platform."""
    return str(value) if isinstance(value, int) else repr(float(value))


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _read(path: Path) -> list[list[str]]:
    """Every complete line; a last one without its newline was cut by a crash and is left out."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))


def _header(path: Path) -> list[str]:
    rows = _read(path)
    return rows[0] if rows else []


def _drop_after(path: Path, last_step: int) -> None:
    rows = _read(path)
    if rows:
        kept = [rows[0], *(row for row in rows[1:] if int(row[0]) <= last_step)]
        write_text(path, "".join(_line(row) for row in kept))
    else:
        path.unlink(missing_ok=True)
