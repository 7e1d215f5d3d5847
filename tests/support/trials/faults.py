"""What can happen at a moment: processes die, disks fill, a store damages what it is given, the user works on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from s3_servers import BUCKET, RcloneServer, free_port
from sandbox import Sandbox

from trials.judge import Before, trainings
from trials.user import wait_until

# Where a disk of its own can be full. Of .dvc/tmp it is the folder in which DVC keeps its experiments, with their
# checkouts and their list of locks: DVC dies of a mount at .dvc/tmp itself, which it tries to remove (and never can, it
# is not empty), and finds no project below one at .dvc.
PLACES = {
    "states": "project/.explicitlm", "cache": "project/.dvc/cache", "tmp": "project/.dvc/tmp/exps",
    "logs": "project/logs", "records": "project/experiments/records", "git": "project/.git",
    "remote": "explicitlm-storage",
}  # fmt: skip
DISK_MB = 48
SWANLAB_KEY = "stand-in-key-that-must-stay-secret"
STAND_IN = Path(__file__).parents[2] / "lm/tracking/swanlab_stand_in.py"


@dataclass
class Around:
    """What is set up before the command starts: disks, servers, variables of its environment.

    Attributes:
        stack: ends it all. work: the trial's folder. box: the project.
        repairs: what the user can do about a fault afterwards. environment: variables of the command.
        server: the store, where it is one.
    """

    stack: ExitStack
    work: Path
    box: Sandbox
    repairs: list[Callable[[], object]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    server: RcloneServer | None = None


@dataclass
class Moment:
    """A trial at the moment of its fault.

    Attributes:
        around: what was set up before it. process: the command under the fault. words: as it was typed.
        at: pid and name of the process that stands still, if one does. rng: for everything that is chosen.
        before: what must be there afterwards; a fault adds what the user does. release: lets the process go on.
        told: what the fault did.
    """

    around: Around
    process: subprocess.Popen[bytes]
    words: str
    at: dict[str, Any]
    rng: random.Random
    before: Before
    release: Callable[[], None]
    told: list[str] = field(default_factory=list)

    @property
    def box(self) -> Sandbox:
        """The project."""
        return self.around.box

    @property
    def work(self) -> Path:
        """The trial's folder."""
        return self.around.work

    def alive(self) -> list[psutil.Process]:
        """The processes of the trial, its own command first."""
        found = processes(self.work)
        return sorted(found, key=lambda process: (process.pid != self.process.pid, process.pid))


Fault = Callable[[Moment], None]


def processes(work: Path) -> list[psutil.Process]:
    """Every process that belongs to a trial, however it was started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            zombie = process.status() == psutil.STATUS_ZOMBIE
            if not zombie and process.environ().get("FAULTS_ROOT") == str(work):
                found.append(process)
    return found


def nothing(_moment: Moment) -> None:
    """The fault is in the surroundings."""


# -- processes and signals -----------------------------------------------------------------------


def kill(moment: Moment) -> None:
    """SIGKILL to one process, or to all at once as at a power cut."""
    alive = moment.alive()
    choice = moment.rng.choice(["root", "stopped", "other", "other", "all"])
    victims = {"root": alive[:1], "stopped": [p for p in alive if p.pid == moment.at.get("pid")],
               "other": [moment.rng.choice(alive)] if alive else [], "all": alive}[choice]  # fmt: skip
    for process in victims:
        with suppress(psutil.Error):
            moment.told.append(f"killed {_called(process)}")
            process.kill()


def inside_git(moment: Moment) -> None:
    """The git that is about to start dies in the middle, sometimes with whoever started it."""
    parent = psutil.Process(moment.at["pid"])
    moment.release()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with suppress(psutil.Error):
            for child in parent.children():
                if child.name().startswith("git"):
                    time.sleep(moment.rng.choice([0, 0, 0.001, 0.002, 0.004]))
                    child.kill()
                    moment.told.append("killed git")
                    if moment.rng.random() < 0.5:
                        parent.kill()
                        moment.told.append(f"killed {_called(parent)}")
                    return


def told(number: signal.Signals, group: bool) -> Fault:
    """A signal to the command, or to its whole process group as a terminal sends it."""

    def send(moment: Moment) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(moment.process.pid, number)

    return send


def _called(process: psutil.Process) -> str:
    return " ".join(Path(word).name for word in process.cmdline()[:4])[:60]


# -- disks and stores ----------------------------------------------------------------------------


@contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """Puts a folder on a small disk of its own, with what it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f"{folder.name}.aside")
    subprocess.run(["cp", "-a", str(folder), str(aside)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    subprocess.run(["cp", "-a", f"{aside}/.", str(folder)], check=True)
    subprocess.run(["rm", "-rf", str(aside)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def on_a_disk(place: str) -> Callable[[Around], None]:
    """Prepares a place for `full` or `read_only`."""

    def prepare(around: Around) -> None:
        around.stack.enter_context(own_disk(around.work / PLACES[place]))

    return prepare


def full(place: str) -> Fault:
    """The disk under a place is full, until the user frees it."""

    def fill(moment: Moment) -> None:
        filler = moment.work / PLACES[place] / "filler.tmp"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0")
        moment.around.repairs.append(lambda: filler.unlink(missing_ok=True))

    return fill


def read_only(place: str) -> Fault:
    """The disk under a place takes nothing any more, until it is mounted anew."""

    def freeze(moment: Moment) -> None:
        folder = str(moment.work / PLACES[place])
        done = subprocess.run(["mount", "-o", "remount,ro", folder], capture_output=True)
        if done.returncode == 0:
            moment.around.repairs.append(lambda: subprocess.run(["mount", "-o", "remount,rw", folder], check=False))

    return freeze


def damaged(change: Callable[[bytes], bytes]) -> Fault:
    """The store keeps something else than it was given, of whatever it has got until now."""

    def damage(moment: Moment) -> None:
        objects = [path for path in (moment.work / PLACES["remote"]).rglob("*") if path.is_file()]
        if objects:
            victim = moment.rng.choice(objects)
            content = victim.read_bytes()
            victim.chmod(0o644)
            victim.write_bytes(change(content))
            moment.told.append(f"damaged {victim.name}")

    return damage


def cut_short(content: bytes) -> bytes:
    """The first half."""
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit is another."""
    return bytes([content[0] ^ 1]) + content[1:] if content else b"x"


def s3(around: Around) -> None:
    """The remote is an S3 server on this machine."""
    (around.work / "s3" / BUCKET).mkdir(parents=True)
    server = RcloneServer(port=free_port(), store=around.work / "s3")
    server.start()
    around.stack.callback(server.kill)
    server.use(around.box)
    around.server = server


def s3_dies(moment: Moment) -> None:
    """The server is killed when it has got its first object, and started again by the user."""
    server = moment.around.server
    assert server is not None
    moment.release()
    objects = server.store / BUCKET
    wait_until(lambda: any(path.is_file() for path in objects.rglob("*")) or moment.process.poll() is not None, 60)
    server.kill()

    def start_again() -> None:
        if server.process is None:
            server.start()

    moment.around.repairs.append(start_again)


def tracker(fault: str) -> Callable[[Around], None]:
    """The curves go to a SwanLab server that fails: WHAT:PREFIX, as the stand-in takes it."""
    return lambda around: around.environment.update(swanlab(around.stack, "--fault", fault))


def swanlab(stack: ExitStack, *arguments: str) -> dict[str, str]:
    """Starts a stand-in for SwanLab's server; gives the variables by which a training finds it."""
    process = subprocess.Popen([sys.executable, str(STAND_IN), *arguments], stdout=subprocess.PIPE, text=True)
    stack.callback(process.communicate)
    stack.callback(process.kill)
    assert process.stdout is not None
    return {"SWANLAB_API_HOST": process.stdout.readline().strip(), "SWANLAB_API_KEY": SWANLAB_KEY}


# -- people --------------------------------------------------------------------------------------


def commits(moment: Moment) -> None:
    """The user commits something."""
    moment.before.files["notes.md"] = "a thought of the user's"
    (moment.box.root / "notes.md").write_text("a thought of the user's\n")
    done = moment.box.shell("git add notes.md && git commit -qm 'user: notes' && git rev-parse HEAD", check=False)
    if done.returncode == 0:
        moment.before.commits.append(done.stdout.strip())


def edits(path: str, text: str) -> Fault:
    """The user writes into a file of the project."""

    def write(moment: Moment) -> None:
        file = moment.box.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            out.write(text)
        moment.before.files[path] = text.strip()

    return write


def switches_branch(moment: Moment) -> None:
    """The user goes to another branch, if git lets him."""
    moment.box.shell("git switch -q -c other 2>/dev/null", check=False)


def again(moment: Moment) -> None:
    """Somebody starts the same command once more, at the same time."""
    done = moment.box.run("timeout", "120", "bash", "-c", moment.words, check=False)
    moment.told.append(f"the second gave {done.returncode}")
    said = done.stderr + done.stdout
    knows = any(words in said for words in ("next: ", "busy", "Unable to acquire lock"))  # DVC's own two say enough
    if "Traceback" in said or (done.returncode and not knows):
        moment.told.append(f"unclear: {done.stderr[-500:]}")


def another(moment: Moment) -> None:
    """Somebody runs another experiment at the same time, which must be whole as well."""
    done = moment.box.run("timeout", "150", "explicitlm", "run", "y", "seed=9", check=False)
    moment.told.append(f"the other gave {done.returncode}")
    moment.before.trainings = len(trainings(moment.work))  # its own is none of the experiment's, which stood still
    if done.returncode == 0:
        moment.before.commits.append(moment.box.git("rev-parse", "refs/tags/y^{commit}"))
    elif "next: " not in done.stderr + done.stdout:
        moment.told.append(f"unclear: {done.stderr[-500:]}")
