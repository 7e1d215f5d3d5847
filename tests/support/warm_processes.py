"""An environment whose commands start at once: they are forked from a process that has loaded DVC, or torch, already.

For tests of what commands and trainings do, of which importing libraries would be most of the time. Words, folder,
variables, files and our own code are those of the command, and each is a process of its own; only the libraries are
shared. The process that was started stays, as a client: it hands signals on, dies with the other and as it does, and
where it dies first the other is killed. Only the trainings and the commands that `FORKED` names are forked. The others
start for real: what runs an experiment and its stages, since they look for each other among the processes above them,
which a forked process does not have; and whatever Python would start otherwise than the server was (another host's
namespace, resource limits, users, locale, Python's own variables). A test that sends signals starts its command for
real (processes.start).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import logging
import marshal
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from sandbox import sandbox_env

LIBRARIES = {
    "commands": (
        "dvc.cli.parser", "dvc.repo.experiments.queue.celery", "dvc.repo.experiments.executor.local", "dvc.stage.cache",
        "dvc.utils.hydra", "dvc_data.hashfile.db.index", "dvc_data.hashfile.db.local", "dvc_data.hashfile.status",
        "dvc_data.index.push", "dvc_s3", "dvc_task.app.filesystem", "dvc_task.proc.manager", "scmrepo.fs",
        "scmrepo.git", "botocore.session", "celery.app.amqp", "celery.worker.worker", "configobj", "dulwich.porcelain",
        "filelock", "fsspec.implementations.memory", "git", "hydra", "kombu.transport.filesystem", "msgspec",
        "networkx", "numpy.typing", "orjson", "packaging.requirements", "pathspec", "platformdirs", "psutil",
        "pydantic.type_adapter", "pygit2.filter", "rich.status", "rich.table", "ruamel.yaml", "tokenizers", "typer",
        "zc.lockfile", "zstandard",
    ),
    "trainings": (
        "accelerate.commands.launch", "torch._dynamo", "torch.distributed", "safetensors.torch", "tokenizers",
        "msgspec", "psutil", "rich.progress", "numpy", "orjson", "pynvml", "filelock",
    ),
}  # fmt: skip
FORKED = {
    "dvc": [
        *(["exp", verb] for verb in ("apply", "list", "remove", "rename", "save", "show")),
        *([verb] for verb in ("add", "checkout", "config", "data", "diff", "fetch", "gc", "pull", "push", "remote",
                              "remove", "status")),
    ],
    "explicitlm": [
        [verb] for verb in ("archive", "badge", "compare", "conclude", "data", "doctor", "export", "index", "migrate",
                            "ps", "publish", "remote", "report", "sample-data")
    ],
}  # fmt: skip


@contextmanager
def warm_processes(kind: str) -> Iterator[str]:
    """Gives the address of a server that has loaded what `kind` (commands or trainings) needs."""
    with tempfile.TemporaryDirectory(prefix="warm-") as short, socket.socket(socket.AF_UNIX) as listening:
        address = f"{short}/socket"  # a socket's path may have 100 letters, which a test's own folder can exceed
        listening.bind(address)
        listening.listen(64)
        words = [sys.executable, __file__, str(listening.fileno()), kind]
        server = subprocess.Popen(
            words, pass_fds=[listening.fileno()], stdin=subprocess.PIPE, start_new_session=True,
            env=sandbox_env(Path(short)) | {"HF_HOME": short, "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        listening.close()
        try:
            yield address
        finally:
            server.terminate()
            server.communicate()


def serve(listening: socket.socket, kind: str) -> None:
    """Forks a process for each command, as long as the tests live: their end of standard input closes with them."""
    for name in LIBRARIES[kind]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    while True:
        if 0 in select.select([0, listening.fileno()], [], [])[0]:
            return
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _watch(connection)
        connection.close()


def _watch(connection: socket.socket) -> NoReturn:
    """Starts the process that a client stands for, hands its signals on and tells how it ended."""
    files, words, folder, variables, umask, ignored = _receive(connection)
    if not (_is_forked(words) and _is_as_here(connection, variables)):
        connection.sendall(b"r")
        os._exit(0)
    connection.sendall(b"w")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker = os.fork()
    if worker == 0:
        connection.close()
        _become(files, folder, variables, umask, ignored)
        _run(words)
    ended = os.pidfd_open(worker)
    while ended not in select.select([connection.fileno(), ended], [], [])[0]:
        os.kill(worker, ord(connection.recv(1) or bytes([signal.SIGKILL])))
    with suppress(OSError):
        connection.sendall(os.waitpid(worker, 0)[1].to_bytes(4, "big"))
    os._exit(0)


def _receive(connection: socket.socket) -> tuple[Any, ...]:
    size, files, _, _ = socket.recv_fds(connection, 8, 3)
    stream = connection.makefile("rb")
    return (files, *marshal.loads(stream.read(int.from_bytes(size, "big"))))  # noqa: S302 (from our own client)


def _is_forked(words: list[str]) -> bool:
    """Whether a command is one of those that are forked: none that runs an experiment, and no stage of one.

    Those find the DVC that they belong to, and who is at work beside them, among the processes above them.
    """
    program, words = Path(words[0]).name, words[1:]
    if program.startswith("python") and words[:1] == ["-m"]:
        program, words = words[1], words[2:]
    return program == "accelerate" or any(words[: len(start)] == start for start in FORKED.get(program, ()))


def _is_as_here(connection: socket.socket, variables: dict[bytes, bytes]) -> bool:
    """Whether a process of the client's would start as a fork of this one does."""
    client = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
    theirs, ours = Path(f"/proc/{client}"), Path("/proc/self")
    places = ("root", *(f"ns/{name}" for name in ("mnt", "net", "pid", "user", "uts")))
    try:
        return (
            _at_start(variables) == _at_start(os.environb)
            and all((theirs / name).readlink() == (ours / name).readlink() for name in places)
            and (theirs / "limits").read_text() == (ours / "limits").read_text()
            and _identity(theirs) == _identity(ours)
        )
    except OSError:  # it is another user's, or in a namespace of processes that is not seen from here
        return False


def _at_start(variables: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables that are read when a process starts, other than those that `_become` heeds."""
    heeded = (b"PYTHONPATH", b"PYTHONUTF8", b"PYTHONUNBUFFERED", b"PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in variables.items() if name.startswith((b"PYTHON", b"LC_", b"LANG", b"LD_"))}
    return {name: value for name, value in kept.items() if name not in heeded}


def _identity(process: Path) -> list[str]:
    kinds = ("Uid:", "Gid:", "Groups:", "CapEff:", "NoNewPrivs:")
    return [line for line in (process / "status").read_text().splitlines() if line.startswith(kinds)]


def _become(files: list[int], folder: str, variables: dict[bytes, bytes], umask: int, ignored: list[int]) -> None:
    """Takes over what a process has from the one that starts it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(folder)
    os.umask(umask)
    os.environ.clear()
    os.environb.update(variables)
    time.tzset()
    tempfile.tempdir = None
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    if "dvc" in sys.modules:
        _settle_dvc()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty(), write_through=bool(os.environ.get("PYTHONUNBUFFERED")))


def _settle_dvc() -> None:
    """Settles again what was settled when DVC was imported: where its messages go, whose configuration is read."""
    import colorama
    import dvc.logger
    import pygit2

    colorama.deinit()
    for name in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).handlers.clear()
    dvc.logger.setup()
    colorama.deinit()  # until DVC itself runs
    places, level = pygit2.settings.search_path, pygit2.enums.ConfigLevel
    places[level.GLOBAL], places[level.XDG] = str(Path.home()), str(Path.home() / ".config/git")


def _run(words: list[str]) -> NoReturn:
    """Runs what the command says, and ends as Python would but for its taking itself apart, which takes 0.05 s."""
    code = 1
    try:
        _start(words)
        code = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except Exception:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # who reads has gone
            stream.flush()
    os._exit(code & 0xFF)


def _start(words: list[str]) -> None:
    """Runs `dvc ...`, `explicitlm ...`, either of them by `python -m ...`, or `accelerate launch ...`."""
    program = Path(words[0])
    sys.executable = str(program.with_name("python"))
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:1] = [str(Path(folder).absolute()) for folder in folders]
    if program.name == "accelerate":
        _train(words)
        return
    by_module = words[1] == "-m" and program.name.startswith("python")
    sys.path.insert(0, str(Path.cwd() if by_module else program.parent))
    sys.argv = words[2:] if by_module else words
    name = words[2] if by_module else program.name
    if name == "dvc":
        importlib.import_module("colorama").reinit()
    if by_module:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.exit(importlib.import_module({"dvc": "dvc.cli", "explicitlm": "explicitlm.cli.main"}[name]).main())


def _train(words: list[str]) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words[2:]))
    _, environment = prepare_simple_launcher_cmd_env(arguments)
    os.environ.update(environment)
    sys.argv = [arguments.training_script, *arguments.training_script_args]
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_path(arguments.training_script, run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
