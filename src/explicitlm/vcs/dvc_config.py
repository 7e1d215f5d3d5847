"""The one place that asks DVC for its configuration: of the system, the person, the project and this clone, merged.

`dvc.config.Config` knows where the four lie, how they overrule each other, and what their relative paths mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configobj import ConfigObj

from explicitlm.common.errors import StorageError, UsageError
from explicitlm.common.shown import without_secrets

NOT_INITIALISED = UsageError("DVC is not initialised here (no .dvc folder)", "clone the project with git clone")
CONNECT_S = 5  # waiting for a connection
READ_S = 60  # waiting for an answer to one request while data moves
DEFAULT_LINKS = "reflink,copy"  # DVC's own


def dvc_config(root: Path) -> dict[str, Any]:
    """The configuration that DVC uses in a project, by section; remotes by name under "remote"; paths are absolute.

    Raises:
        UsageError: DVC is not initialised there, or its configuration is not valid.
    """
    from dvc.config import Config, ConfigError  # 0.05 s, which most commands need not pay

    folder = root / ".dvc"
    if not folder.is_dir():
        raise NOT_INITIALISED
    try:
        checked = Config(str(folder))
        found: dict[str, Any] = dict(Config(str(folder), validate=False))  # as written, to be written again
    except (ConfigError, OSError) as error:
        cause = without_secrets(str(error)).removeprefix("config file error: ").splitlines()[0]
        broken = _unreadable(Config.LEVELS, folder)
        where = f" ({broken})" if broken else ""
        hint = f"correct {broken}" if broken else "dvc config --list --show-origin names the file"
        raise UsageError(f"DVC's configuration is not valid{where}: {cause}", hint) from None
    found["cache"].setdefault("dir", str(folder.resolve() / "cache"))
    links = checked["cache"].get("type") or DEFAULT_LINKS.split(",")
    found["cache"]["type"] = ",".join([links] if isinstance(links, str) else links)
    return found


def _unreadable(levels: tuple[str, ...], folder: Path) -> Path | None:
    """The first configuration file that cannot be read at all; None where only a value is wrong."""
    from dvc.config import Config, ConfigError

    local = {"repo": folder / "config", "local": folder / "config.local"}
    for level in levels:
        path = local.get(level) or Path(Config.get_dir(level)) / "config"
        try:
            Config.load_file(str(path))
        except FileNotFoundError:
            continue
        except (ConfigError, OSError):
            return path
    return None


def for_transfer(config: dict[str, Any]) -> str:
    """A config file for a DVC project that only moves data between this project's cache and remotes."""
    out = ConfigObj(encoding="utf-8", interpolation=False)
    for section, values in config.items():
        if section in ("remote", "machine", "db"):
            for name, settings in values.items():
                out[f'{section} "{name}"'] = dict(settings)
        elif values:
            out[section] = dict(values)
    for section in out.sections:
        if section.startswith("remote "):
            out[section]["verify"] = "true"  # else DVC takes a damaged object of the right length
            if str(out[section].get("url", "")).startswith("s3://"):
                out[section].setdefault("connect_timeout", str(CONNECT_S))
                out[section].setdefault("read_timeout", str(READ_S))
    out["core"] = {**out.get("core", {}), "no_scm": "true", "analytics": "false"}
    lines = [line if isinstance(line, str) else line.decode("utf-8") for line in out.write()]
    return "\n".join([*lines, ""])


def cache_dir(root: Path) -> Path:
    """Where the cache of a project is, whichever level of the configuration says so."""
    return Path(dvc_config(root)["cache"]["dir"])


def missing_plugin(name: str, config: dict[str, Any]) -> StorageError | None:
    """The error for a remote whose kind DVC cannot use here; None if it can.

    Args:
        name: of the remote. config: from `dvc_config`.
    """
    from dvc.fs import get_cloud_fs

    url = str(config["remote"][name]["url"])
    shown, kind = without_secrets(url), url.partition("://")[0]
    try:
        cls, arguments, _ = get_cloud_fs(config, name=name)
        cls(**arguments)
    except Exception as error:  # each plug-in has errors of its own
        if "to be installed" in str(error) or "missing dependencies" in str(error):
            return StorageError(f"remote {name} ({shown}) needs DVC's plug-in dvc-{kind}, which is not installed",
                                f"pip install 'dvc[{kind}]'")  # fmt: skip
        return StorageError(f"remote {name} ({shown}) cannot be used: {without_secrets(str(error))}",
                            f"dvc remote modify {name} --help, or choose another: explicitlm remote local")  # fmt: skip
    return None
