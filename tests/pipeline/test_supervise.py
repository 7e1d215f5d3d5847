"""Watching a training process: every line kept, signals passed on, the true exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import AS_FROM_A_TERMINAL, wait_for

from explicitlm.pipeline.launcher import training_lines

# A handler may interrupt a print, and must not print then: it writes to the file descriptor.
WORKER = """
import os, signal, sys, time
def save(number, frame):
    os.write(1, f"saved on {signal.Signals(number).name}\\n".encode())
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, save)
print("ready", flush=True)
time.sleep(600)
"""
SLOW_WORKER = """
import os, signal, sys, time
heard = []
def hear(number, frame):
    os.write(1, f"heard {signal.Signals(number).name}\\n".encode())
    heard.append(number)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, hear)
print("ready", flush=True)
while len(heard) < 2:
    time.sleep(0.01)
print("saved", flush=True)
sys.exit(138)
"""
WATCHER = """
import json, os, sys
from pathlib import Path
from explicitlm.pipeline.supervise import run_logged
outcome = run_logged(sys.argv[2:], Path(sys.argv[1]), os.environ, "worker.py", append=False)
print("OUTCOME", json.dumps(vars(outcome)))
"""


def watch(log: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AS_FROM_A_TERMINAL, sys.executable, "-c", WATCHER, str(log), *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Reads lines up to one that holds the text; what comes after it is left for `communicate` without a timeout."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"it ended without {text!r}")


def test_output_goes_to_terminal_and_log_and_the_exit_code_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs/exp.log"
    done = watch(log, "bash", "-c", "echo one; echo 错误 >&2; exit 7")
    out, _ = done.communicate()
    assert log.read_text() == "one\n错误\n"
    assert "one" in out and '"exit_code": 7' in out and '"signal": null' in out


LAUNCHED = """\
The following values were not passed to `accelerate launch` and had defaults used instead:
\t`--num_processes` was set to a value of `2`
\t\tMore than one GPU was found, enabling multi-GPU training.
To avoid this warning pass in values for each of the problematic parameters or run `accelerate config`.
step 1/3 loss 2.5
Traceback (most recent call last):
  File "/project/src/explicitlm/lm/training/loop.py", line 1, in run
ValueError: the true cause
W1125 08:27:26.000000 123 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 12 SIGTERM
E1125 08:27:27.000000 123 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: 1) local_rank: 0
Traceback (most recent call last):
  File "/venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
1_pretrain.py FAILED
"""


def test_the_launchers_own_words_are_left_out() -> None:
    lines = [line.encode() for line in LAUNCHED.splitlines(keepends=True)]
    kept = [line.decode().rstrip() for line in training_lines(lines)]
    assert kept == LAUNCHED.splitlines()[4:8]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_reaches_the_worker_behind_a_launcher(tmp_path: Path, number: signal.Signals) -> None:
    """As under `accelerate launch`: a launcher that would die of the signal must not leave the worker alone."""
    worker, log = tmp_path / "worker.py", tmp_path / "exp.log"
    worker.write_text(WORKER)
    process = watch(log, "bash", "-c", f"{sys.executable} {worker}; echo launcher saw $?")
    read_until(process, "ready")
    os.killpg(process.pid, number)  # what the terminal does on Ctrl-C
    out, _ = process.communicate()
    assert f"saved on {number.name}" in log.read_text()
    assert f"launcher saw {128 + number}" in out
    assert f'"signal": "{number.name}"' in out


def test_a_second_signal_ends_a_worker_that_hangs(tmp_path: Path) -> None:
    worker, log = tmp_path / "worker.py", tmp_path / "exp.log"
    worker.write_text(WORKER.replace("sys.exit(128 + number)", "time.sleep(600)"))
    process = watch(log, sys.executable, str(worker))
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    read_until(process, "saved on")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert '"exit_code": -9' in out


def test_a_schedulers_second_signal_lets_a_worker_save(tmp_path: Path) -> None:
    """A time limit is announced by USR1 and enforced by TERM, which is not a reason to stop saving."""
    worker, log = tmp_path / "worker.py", tmp_path / "exp.log"
    worker.write_text(SLOW_WORKER)
    process = watch(log, sys.executable, str(worker))
    for number, line in ((signal.SIGUSR1, "ready"), (signal.SIGTERM, "heard SIGUSR1")):
        read_until(process, line)
        process.send_signal(number)
    out, _ = process.communicate()
    assert log.read_text() == "ready\nheard SIGUSR1\nheard SIGTERM\nsaved\n"
    assert '"exit_code": 138' in out and '"signal": "SIGUSR1"' in out


def test_a_log_that_is_full_does_not_end_the_training(tmp_path: Path) -> None:
    done = watch(Path("/dev/full"), "bash", "-c", "echo one; echo two; exit 0")
    out, _ = done.communicate()
    assert "one\ntwo\n" in out and '"exit_code": 0' in out and '"log_error": "No space left on device"' in out


def test_the_launcher_ends_with_its_watcher(tmp_path: Path) -> None:
    mark = tmp_path / "told"
    process = watch(
        tmp_path / "exp.log", "bash", "-c", f"trap 'echo TERM > {mark}; exit' TERM; echo ready; sleep 60 & wait"
    )
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        pass
    process.kill()
    wait_for(lambda: mark.exists() and mark.read_text() == "TERM\n")
    process.communicate()


def test_an_unwritable_log_stops_it_before_anything_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    done = watch(Path("/proc/nowhere/exp.log"), "touch", str(mark))
    done.communicate()  # to the end of what it writes: nothing it started is left
    assert done.returncode != 0
    assert not mark.exists()
