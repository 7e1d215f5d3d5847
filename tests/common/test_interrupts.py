"""Ctrl-C while modules are loaded."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from processes import AS_FROM_A_TERMINAL

PROGRAM = """
import runpy, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
runpy.run_module({module!r}, run_name="__main__")
"""


@pytest.mark.parametrize(("module", "name"), [("explicitlm", "typer"), ("explicitlm.pipeline.sync_data", "msgspec")])
def test_an_interrupted_import_is_no_traceback(module: str, name: str) -> None:
    program = PROGRAM.format(module=module, name=name)
    done = subprocess.run(
        [*AS_FROM_A_TERMINAL, sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "interrupted\n" and done.returncode == -signal.SIGINT
