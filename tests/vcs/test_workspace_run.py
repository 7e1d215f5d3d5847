"""The lock that a plain run keeps is DVC's own: DVC reads it, respects it, and has its guard respected."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dvc.fs import localfs
from dvc.lock import LockError, make_lock
from dvc.rwlock import rwlock
from processes import wait_for

from explicitlm.common.errors import UsageError
from explicitlm.vcs import workspace_run

HOLD = "import sys, pathlib, psutil; from explicitlm.vcs.workspace_run import hold; hold(pathlib.Path(sys.argv[1]), "
WAITING = [sys.executable, "-c", "input()"]


def held(main: Path, process: subprocess.Popen[bytes]) -> None:
    """Takes the lock for a process, as the first stage does for its DVC."""
    subprocess.run([sys.executable, "-c", f"{HOLD}psutil.Process({process.pid}))", str(main)], check=True)


def folder(main: Path) -> Path:
    return main / workspace_run.EXPERIMENTS


def test_dvc_refuses_what_is_held_until_its_holder_ends(tmp_path: Path) -> None:
    other = {"pid": psutil.Process().pid, "cmd": "dvc \udcff"}  # DVC escapes what is no UTF-8
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "rwlock").write_text(json.dumps({"read": {"x": [other]}}))
    with subprocess.Popen([*WAITING, "\udcfe"], stdin=subprocess.PIPE) as first:
        held(tmp_path, first)
        held(tmp_path, first)  # a stage that is started again by the same DVC
        with (
            pytest.raises(LockError, match=f"PID {first.pid}"),
            rwlock(str(folder(tmp_path)), localfs, "dvc exp run", [], [workspace_run.LOCK], False),
        ):
            pass
        with pytest.raises(UsageError, match=f"at work in this checkout .process {first.pid}"):
            workspace_run.hold(tmp_path, psutil.Process())
        first.communicate(b"\n")
    wait_for(lambda: not json.loads((folder(tmp_path) / "rwlock").read_text())["write"])
    assert json.loads((folder(tmp_path) / "rwlock").read_text())["read"] == {"x": [other]}


def test_dvcs_guard_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_run, "PAUSE_S", 0.0)
    folder(tmp_path).mkdir(parents=True)
    guard = make_lock(str(folder(tmp_path) / "rwlock.lock"))
    with guard, pytest.raises(UsageError, match="another dvc holds"):
        workspace_run.hold(tmp_path, psutil.Process())
    assert not (folder(tmp_path) / "rwlock").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"write": {"workspace": 3}}'])
def test_a_list_that_is_none_can_be_put_aside(tmp_path: Path, text: str) -> None:
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "rwlock").write_text(text)
    with pytest.raises(UsageError, match="not DVC's list of locks") as caught:
        workspace_run.hold(tmp_path, psutil.Process())
    subprocess.run(["bash", "-c", caught.value.hint.split(", then")[0]], check=True)
    with subprocess.Popen(WAITING, stdin=subprocess.PIPE) as process:
        held(tmp_path, process)
        process.communicate(b"\n")
