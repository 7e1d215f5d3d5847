"""All that is known of SwanLab's SDK (0.10.3) and its edges; nothing else in the project imports it.

Every call here may take long or fail and is made from the tracker's own thread (see `tracker.py`).
What is private in the SDK is asked for by name and done without when it is not there.
"""

from __future__ import annotations

import atexit
import colorsys
import hashlib
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["success", "crashed", "aborted"]
Mode = Literal["online", "offline", "local"]

REACH_SECONDS = 5.0  # the SDK itself takes 15 to 75 s to find out that there is no route
CONFIRM_TRIES = 5  # a second apart: the server may take a moment to count what it has taken
SERVER_STATES = {"success": "FINISHED", "crashed": "CRASHED", "aborted": "ABORTED"}


class UnavailableError(Exception):
    """SwanLab cannot be used in the wanted mode; the text says why and holds no secret."""


@dataclass(frozen=True)
class Plan:
    """What is settled about a run before anything is opened.

    Attributes:
        workspace: None when only the account knows it, offline and without `swanlab_workspace`.
        folder: swanlog, where each process that opens the run gets a folder run-<time>-<id> of its own.
    """

    id: str
    name: str
    description: str
    project: str
    workspace: str | None
    web_host: str
    folder: Path
    config: Mapping[str, Any]

    def url(self, workspace: str | None) -> str | None:
        """Where the run's page is or will be."""
        if workspace is None:
            return None
        return f"{self.web_host}/@{workspace}/{self.project}/runs/{self.id}"


def account() -> tuple[str, str | None]:
    """The web host, and the workspace if the user's settings name one. No network.

    Raises:
        UnavailableError: the SDK is absent or cannot read its settings.
    """
    generator = random.getstate()
    try:
        import swanlab

        settings = swanlab.Settings()
    except Exception as error:  # a broken installation or settings file must not end a training
        raise UnavailableError(_reason(error)) from None
    finally:
        random.setstate(generator)  # rich, which it brings, draws a number when it is imported first
    return settings.web_host, settings.project.workspace


def own_workspace() -> str:
    """The workspace of the account that is logged in here: its own user, by the server's word.

    Raises:
        UnavailableError: no key, no route, or the server does not know the key.
    """
    secret = None
    try:
        import swanlab

        settings = swanlab.Settings()
        secret = settings.api_key
        _must_be_reachable(settings)
        return settings.project.workspace or str(swanlab.Api().username)
    except UnavailableError:
        raise
    except Exception as error:
        raise UnavailableError(_reason(error, secret)) from None


def open_run(plan: Plan, mode: Mode) -> Any:
    """Opens the run and takes the SDK's hooks off the process: they could block its end for ever.

    Raises:
        UnavailableError: with the reason; for the mode "online" after 5 s where there is no route.
    """
    secret = None
    try:
        import swanlab

        settings = swanlab.Settings(
            interactive=False,
            # git: remotes are stored as they are, with tokens; requirements: pip, for up to 15 s
            probe={"git": False, "requirements": False},
            core={"skip_store": False},
        )
        secret = settings.api_key
        if mode == "online":
            _must_be_reachable(settings)
        excepthook = sys.excepthook
        run = swanlab.init(
            mode=mode,
            id=plan.id,
            resume="allow",  # the SDK refuses an id of our own with any other value
            name=plan.name[:512],
            color=_color(plan.id),
            description=plan.description[:1024] or None,
            project=plan.project,
            workspace=plan.workspace,
            log_dir=str(plan.folder),
            config=dict(plan.config),
            settings=settings,
        )
    except UnavailableError:
        raise
    except BaseException as error:  # the SDK also exits by SystemExit
        raise UnavailableError(_reason(error, secret)) from None
    sys.excepthook = excepthook
    atexit.unregister(getattr(run, "_handle_atexit", open_run))
    retry = getattr(getattr(getattr(run, "_core", None), "_transport", None), "_retry", None)
    if retry is not None and hasattr(retry, "_rng"):
        retry._rng = random.Random().uniform
    return run


def _color(run_id: str) -> str:
    """A colour for the run.

    Left to the SDK it would be drawn from Python's global generator, as its retries are, and the digest chain of a
    tracked training would differ from that of an untracked one.
    """
    hue = hashlib.sha256(run_id.encode()).digest()[0] / 256
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, 0.5, 0.5))


def _must_be_reachable(settings: Any) -> None:
    if not settings.api_key:
        raise UnavailableError("no API key (swanlab login)")
    try:
        urllib.request.urlopen(settings.api_host, timeout=REACH_SECONDS).close()  # noqa: S310 - the user's own server
    except urllib.error.HTTPError:
        pass  # any answer will do
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{settings.api_host} does not answer ({_reason(error)})") from None


def flush(run: Any) -> None:
    """Brings what is logged from the SDK's buffer into its file, so that SIGKILL leaves it there."""
    store = getattr(getattr(run, "_core", None), "_store", None)
    ensure_flushed = getattr(store, "ensure_flushed", None)
    if ensure_flushed is not None:
        try:
            ensure_flushed()
        except (OSError, AssertionError, ValueError):
            return  # closed by a finish, or a full disk: the local metrics have the numbers


def workspace_of(run: Any) -> str | None:
    """The workspace that the server gave the run (online only)."""
    try:
        return str(run.path).strip("/").split("/")[0]
    except ValueError:
        return None


def is_confirmed(path: str, state: State, last_steps: Mapping[str, int]) -> bool:
    """Whether the server says that the run has ended and holds the last step of every key.

    Needed because a finish without an error proves nothing: records answered by HTTP 400 are dropped silently.

    Args:
        path: workspace/project/id.
    """
    import swanlab

    try:
        api = swanlab.Api()
        for attempt in range(CONFIRM_TRIES):
            if attempt:
                time.sleep(1)
            found = api.run(path)
            if found.state != SERVER_STATES[state]:
                continue
            summary = found.summary(list(last_steps)) if last_steps else {}
            if all((summary.get(key) or {}).get("step", -1) >= step for key, step in last_steps.items()):
                return True
    except Exception:  # whatever went wrong: it is not confirmed
        return False
    return False


def _reason(error: BaseException, secret: str | None = None) -> str:
    """One line for the user, without the API key."""
    text = f"{type(error).__name__}: {error}".replace(secret or "\0", "***")
    return text.splitlines()[0][:300]
