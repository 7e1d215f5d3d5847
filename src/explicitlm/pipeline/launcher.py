"""What `accelerate launch` says about itself, which hides a training's own words from log, terminal and record.

At the start it lists options that it was not given; when its child has failed it adds a traceback of its own, after the
child's true words, and with several processes torch's report of who has failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_ELASTIC = re.compile(rb"^[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ \d+ (\S*/)?torch/distributed/")
_DEFAULTS = (b"The following values were not passed to `accelerate launch`", b"To avoid this warning pass in values")


def training_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a training alone, as they come."""
    pending: bytes | None = None  # a traceback's first line: the next one tells whose it is
    inside = ""
    for line in lines:
        if pending is not None:
            if b'/accelerate", line' in line:
                inside = "traceback"
            else:
                yield pending
            pending = None
        if inside == "traceback":
            inside = "" if line.startswith(b"subprocess.CalledProcessError") else inside
        elif inside == "defaults" and (line.startswith((b"\t", _DEFAULTS[1]))):
            inside = "defaults" if line.startswith(b"\t") else ""
        elif line.startswith(_DEFAULTS[0]):
            inside = "defaults"
        elif line.startswith(b"Traceback (most recent call last)"):
            pending = line
        elif not _ELASTIC.match(line):
            yield line
    if pending is not None:
        yield pending
