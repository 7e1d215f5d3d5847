"""An environment in which a real training starts at once: it is forked from a process that has loaded torch already.

For tests of many short trainings, of which loading torch would be nine tenths. Code, arguments, folder and variables
are those of the command, accelerate prepares them as it does for one process, and every training is a process of its
own; only the libraries are shared.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stub_training import environment_over

LIBRARIES = ("accelerate.commands.launch", "torch._dynamo", "torch.distributed", "safetensors.torch", "tokenizers",
             "msgspec", "psutil", "rich.progress", "numpy", "orjson", "pynvml", "filelock")  # fmt: skip
CLIENT = r"""#!{{python}} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"-"], [1, 2])
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\n")
    code = server.recv(1)
sys.exit(code[0] if code else 1)
"""


@contextmanager
def warm_training(folder: Path) -> Iterator[Path]:
    """Gives the folder of commands whose `accelerate launch` starts warm, as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="warm-") as short, socket.socket(socket.AF_UNIX) as listening:
        address = f"{short}/socket"  # a socket's path may have 100 letters, which a test's own folder can exceed
        commands = environment_over(folder / "venv", CLIENT.format(address=address))
        listening.bind(address)
        listening.listen()
        words = [sys.executable, __file__, str(listening.fileno())]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HOME": str(folder)}
        server = subprocess.Popen(words, pass_fds=[listening.fileno()], env=environment, stdin=subprocess.PIPE)
        listening.close()
        try:
            yield commands
        finally:
            server.terminate()
            server.communicate()


def serve(listening: socket.socket) -> None:
    """Forks a process for each training that is asked for."""
    for name in LIBRARIES:
        importlib.import_module(name)
    threading.Thread(target=_end_with_the_tests, daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            sys.exit(_answer(connection))
        connection.close()


def _end_with_the_tests() -> None:
    """Whose end of standard input closes, however they end."""
    os.read(0, 1)
    os._exit(0)


def _answer(connection: socket.socket) -> int:
    """Trains as the command says, and tells how it ended."""
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    words, folder, variables = json.loads(connection.makefile().readline())
    done = threading.Event()
    threading.Thread(target=_end_with, args=(connection, done), daemon=True).start()
    code = 1
    try:
        _train(words, folder, variables)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    done.set()
    connection.sendall(bytes([code]))
    return code


def _end_with(connection: socket.socket, done: threading.Event) -> None:
    """Ends this process when the command that asked for it is gone before it is done."""
    if not connection.recv(1) and not done.is_set():
        os._exit(1)


def _train(words: list[str], folder: str, variables: dict[str, str]) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words[1:]))
    _, environment = prepare_simple_launcher_cmd_env(arguments)
    os.environ.update(environment)
    sys.argv = [arguments.training_script, *arguments.training_script_args]
    sys.path[0] = folder  # where this file lies is no place of the training's
    runpy.run_path(arguments.training_script, run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
