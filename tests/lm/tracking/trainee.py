"""A stand-in for the training process: `python trainee.py FOLDER STEPS END [key=value ...]`.

Tracks STEPS steps as rank 0 would and ends as END says: success, aborted, raise (an error nobody catches),
hang (waits for a signal; SIGTERM ends it as the training does). key=value pairs are fields of TrainConfig.
Prints one JSON object a line: after the start, after logging, at the end.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from explicitlm.lm.config import parse_train_config
from explicitlm.lm.tracking.swanlab.tracker import start_tracker


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    folder, steps, end = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    options = dict(pair.split("=", 1) for pair in sys.argv[4:])
    config = parse_train_config({"use_swanlab": True, **options}, "the command line")
    random.seed(1)
    before = random.getstate()
    clock = time.monotonic()
    tracker = start_tracker(config, "exp_003", "a note, 一句话 🙂", folder, resume=end == "resume")
    say(event="started", seconds=time.monotonic() - clock, **tracker.info())

    def stop(number: int, frame: object) -> None:
        tracker.finish("aborted", "SIGTERM")
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    clock = time.monotonic()
    for step in range(steps):
        tracker.log(step, {"train/loss_ce": 1 / (step + 1), "train/lr": 1e-4})
    say(event="logged", seconds=time.monotonic() - clock)
    if end == "raise":
        raise RuntimeError("the training broke")
    while end == "hang":
        signal.pause()
    clock = time.monotonic()
    tracker.finish("aborted" if end == "aborted" else "success")
    seconds = time.monotonic() - clock
    say(event="finished", seconds=seconds, rng_moved=random.getstate() != before, **tracker.info())
    return 7  # an exit code of its own: nothing may change it


if __name__ == "__main__":
    sys.exit(main())
