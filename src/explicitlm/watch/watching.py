"""Looks at the runs again and again, and tells an address when one ends or falls silent."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from explicitlm.common.errors import UsageError
from explicitlm.vcs.workspace import Workspace
from explicitlm.watch.runs import Run, current

logger = logging.getLogger(__name__)
_ANSWER_S = 10  # that an address has to take a message


def watch(workspace: Workspace, notify: str | None, every: float, show: Callable[[list[Run]], None]) -> None:
    """Returns when no run is under way any more.

    Args:
        notify: an http address; it gets one JSON object a POST: event (ended, stalled, diverged) and the run.
        every: seconds between two looks. show: called with what is under way at each look.

    Raises:
        UsageError: the address is none.
    """
    if notify and urllib.parse.urlsplit(notify).scheme not in ("http", "https"):
        raise UsageError(f"{notify!r} is no http address", "explicitlm watch --notify https://HOST/PATH")
    before = {run.id: run for run in current(workspace) if run.under_way}
    notified: set[tuple[str, str]] = set()
    while True:
        now = {run.id: run for run in current(workspace)}
        show([run for run in now.values() if run.under_way or run.id in before])
        for run in now.values():
            for event in _events(run, before.get(run.id)):
                if (event, run.id) not in notified:
                    notified.add((event, run.id))
                    _notify(notify, event, run)
        before |= {run.id: run for run in now.values() if run.under_way}
        if not any(run.under_way for run in now.values()):
            return
        time.sleep(every)


def _events(run: Run, before: Run | None) -> list[str]:
    if before is None and not run.under_way:
        return []  # it had ended before anybody watched
    events = [] if run.under_way else ["ended"]
    events += ["stalled"] if run.stalled else []
    return [*events, *(["diverged"] if run.as_dict()["diverged"] else [])]


def _notify(notify: str | None, event: str, run: Run) -> None:
    logger.info(f"{run.id} {event}: {run.state}")
    if notify is None:
        return
    body = json.dumps({"event": event, **run.as_dict()}).encode() + b"\n"
    request = urllib.request.Request(notify, body, {"Content-Type": "application/json"})  # noqa: S310 (checked: http)
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S):  # noqa: S310
            pass
    except (urllib.error.URLError, OSError) as error:
        logger.warning(f"{urllib.parse.urlsplit(notify).hostname} was not told that {run.id} {event} ({error})")
