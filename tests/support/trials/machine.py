"""The machine of a campaign: environments whose programs can be stopped, and projects in every state of an experiment.

Trials work one after the other in the same folder, to which a state is brought back before each: paths that git and DVC
have written down stay true.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import sandbox
from sandbox import Sandbox
from stub_training import STUB, environment_over, own_packages

HOOK = Path(__file__).with_name("hook.py")
ASKED = ("seed=7",)  # what each experiment changes
COUNTED = """import json, os, pathlib, sys
pathlib.Path(os.environ["FAULTS_ROOT"], "trainings").open("a").write(json.dumps(sys.argv[1:]) + "\\n")
"""  # every start of a training is noted
REAL = "from accelerate.commands.accelerate_cli import main\nsys.exit(main())\n"

# How each state comes from another one: folder below the work folder, command
STATES: dict[str, tuple[str, list[tuple[str, list[str]]]]] = {
    "trained": ("plain", [("project", ["dvc", "exp", "run", "--temp", "-n", "x", "-S", "seed=7"])]),
    "prepared": ("plain", [("project", ["explicitlm", "cluster", "pre", "x", "seed=7"])]),
    "pushed": ("prepared", [("project", ["explicitlm", "cluster", "push", "x", "../node"])]),
    "sealed": ("pushed", [("node/x", ["explicitlm", "cluster", "train", "x"])]),
    "fetched": ("sealed", [("project", ["explicitlm", "cluster", "fetch", "x", "../node"])]),
}


@dataclass(frozen=True)
class Machine:
    """Where a campaign works.

    Attributes:
        folder: its environments and states. work: the folder of the trial under way, on a disk in memory if possible.
    """

    folder: Path
    work: Path

    def make(self) -> None:
        """Makes what is not there yet; the code is kept as it is now, whatever becomes of the checkout meanwhile."""
        code = self.folder / "code"
        if not code.exists():
            shutil.copytree(sandbox.ROOT / "src", code)
        for name, text in (("stub", STUB.split("\n", 1)[1]), ("real", REAL)):
            venv = self.folder / name
            if not (venv / "ready").exists():
                shutil.rmtree(venv, ignore_errors=True)
                environment_over(venv, f"#!{{python}}\n{COUNTED}{text}")
                shutil.copy(HOOK, own_packages(venv) / "trial_hook.py")
                (own_packages(venv) / "trial_hook.pth").write_text("import trial_hook\n")
                (own_packages(venv) / "above.pth").write_text(f"{code}\n")  # read before the checkout's own
                (venv / "ready").touch()

    def box(self, kind: str, folder: str = "project", **more: str) -> Sandbox:
        """The commands of a user: `kind` is stub or real, the way in which a training trains."""
        env = sandbox.sandbox_env(self.work / "home")
        path = f"{self.folder / kind / 'bin'}{os.pathsep}{env['PATH']}"
        return Sandbox(self.work / folder, env | {"PATH": path, "FAULTS_ROOT": str(self.work)} | more)

    def restore(self, state: str, kind: str) -> None:
        """Brings the work folder to a state, which is made first where it was not yet."""
        kept = self.folder / "states" / f"{state}-{kind}"
        if not kept.exists():
            self._make_state(state, kind)
            subprocess.run(["cp", "-a", str(self.work), f"{kept}.part"], check=True)
            Path(f"{kept}.part").rename(kept)
        shutil.rmtree(self.work, ignore_errors=True)
        subprocess.run(["cp", "-a", str(kept), str(self.work)], check=True)

    def _make_state(self, state: str, kind: str) -> None:
        (self.folder / "states").mkdir(exist_ok=True)
        if state == "plain":
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            sandbox.make_project(self.work).git("tag", "v1", "HEAD~1")  # the first version of the data
            return
        before, commands = STATES[state]
        self.restore(before, kind)
        for folder, words in commands:
            self.box(kind, folder).run(*words)

    def memo(self, name: str) -> Path:
        """A file in which the campaign keeps what it found out once."""
        return self.folder / f"{name}.json"

    def remembered(self, name: str) -> object | None:
        """What was found out once, or None."""
        path = self.memo(name)
        return json.loads(path.read_text()) if path.exists() else None
