"""The environment in which commands are clients of the servers of warm_processes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from stub_training import environment_over

REAL = "#!{python}\nimport sys\nfrom accelerate.commands.accelerate_cli import main\nsys.exit(main())\n"
# Without `site` and what it imports: this is all that a command costs beside its own work.
CLIENT = r"""#!{python} -IS
import _signal, _socket, marshal, os, sys

def real():
    folder, name = os.path.split(sys.argv[0])
    program = [] if name.startswith("python") else [os.path.join(folder, "real", name)]
    os.execv(os.path.join(folder, "real", "python"), [os.path.join(folder, "python"), *program, *sys.argv[1:]])

signals = [_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2]
ignored = [int(number) for number in signals if _signal.getsignal(number) == _signal.SIG_IGN]
try:
    umask = os.umask(0o22)
    os.umask(umask)
    request = marshal.dumps((sys.argv, os.getcwd(), dict(os.environb), umask, ignored))
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect({address!r})
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    server.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    server.sendall(request)
    if server.recv(1) != b"w":
        real()
except OSError:
    real()
for number in set(signals) - set(ignored):
    _signal.signal(number, lambda number, _: server.send(bytes([number])))
ended = server.recv(4)
status = int.from_bytes(ended, "big") if ended else 256
if os.WIFSIGNALED(status):
    _signal.signal(os.WTERMSIG(status), _signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
"""


def warm_environment(folder: Path, commands: str, trainings: str | None = None, accelerate: str = REAL) -> Path:
    """Makes an environment in a folder and gives the folder of its commands, for the front of PATH.

    Args:
        folder: for the environment.
        commands: the address of the server for DVC, our command line and the stages.
        trainings: that of the server for `accelerate launch`.
        accelerate: the text of that command, where no server is for it.
    """
    found = environment_over(folder, accelerate)
    (found / "real").mkdir()
    (found / "real/python").symlink_to((found / "python").resolve())
    (found / "python").unlink()
    addresses = {"python": commands, "dvc": commands, "explicitlm": commands}
    for name, address in (addresses | ({"accelerate": trainings} if trainings else {})).items():
        with suppress(FileNotFoundError):
            (found / name).rename(found / "real" / name)
        (found / name).write_text(CLIENT.format(python=found / "real/python", address=address))
        (found / name).chmod(0o755)
    return found
