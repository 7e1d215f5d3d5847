"""What every benchmark prints: where, when, from which commit and by which command, then its numbers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parent.parent


def origin() -> dict[str, Any]:
    """Hardware, commit ("-dirty" with uncommitted changes to tracked files), date (UTC) and command."""
    return {
        "hardware": f"{cpu_model()}, {os.cpu_count()} cores{gpu_names()}, {memory_gib()} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["python", os.path.relpath(sys.argv[0], REPOSITORY), *sys.argv[1:]]),
    }


def commit() -> str:
    """Short hash of HEAD; "unknown" outside a git repository."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or "unknown"


def cpu_model() -> str:
    """The processor's name as Linux gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def gpu_names() -> str:
    """The words `, NVIDIA ...` for each GPU that torch sees; nothing without torch or GPU."""
    if "torch" not in sys.modules:
        return ""
    cuda = sys.modules["torch"].cuda
    return "".join(f", {cuda.get_device_name(i)}" for i in range(cuda.device_count()))


def memory_gib() -> int:
    """Physical memory in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def report(
    title: str, tables: Mapping[str, Sequence[Mapping[str, Any]]], numbers: Mapping[str, Any], as_json: bool
) -> None:
    """Prints tables for people or, with `as_json`, one JSON object: origin, then numbers, then the tables.

    Args:
        title: what was measured.
        tables: rows by table name; the first row's keys are the columns.
        numbers: the values that checks rely on.
        as_json: print JSON alone.
    """
    if as_json:
        print(json.dumps({"benchmark": title, **origin(), **numbers, **tables}, ensure_ascii=False, indent=2))
        return
    console = Console()
    console.print(f"[bold]{title}[/bold]")
    for key, value in origin().items():
        console.print(f"  {key}: {value}", highlight=False)
    for name, rows in tables.items():
        table = Table(title=name, title_justify="left")
        for column in rows[0]:
            table.add_column(column.replace("_", " "), justify="left" if column == "form" else "right")
        for row in rows:
            table.add_row(*(_shown(value) for value in row.values()))
        console.print(table)
    for key, value in numbers.items():
        console.print(f"  {key}: [bold]{_shown(value)}[/bold]", highlight=False)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)
