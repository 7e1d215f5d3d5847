"""A whole training, from options to checkpoint: puts the parts together and answers for every way to end."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType

from explicitlm.common.errors import ExplicitLMError, StorageError, UsageError
from explicitlm.common.files import write_json
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data import answers
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.tracking.local import MetricsWriter
from explicitlm.lm.tracking.swanlab.sdk import State
from explicitlm.lm.tracking.swanlab.tracker import Tracker, start_tracker
from explicitlm.lm.training import checkpoint, reports
from explicitlm.lm.training.determinism import seed_noise, set_up
from explicitlm.lm.training.digest import NAME as DIGESTS
from explicitlm.lm.training.digest import DigestChain
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.inputs import InputWatch
from explicitlm.lm.training.loop import Trainer
from explicitlm.lm.training.observers import Observers
from explicitlm.lm.training.progress import Display
from explicitlm.lm.training.run_data import RunData, load_run_data
from explicitlm.lm.training.run_paths import WORK_DIR, RunPaths
from explicitlm.lm.training.signals import Interrupted, SignalHandler
from explicitlm.lm.training.state import Identity, StateStore
from explicitlm.lm.training.usage import Usage

logger = logging.getLogger(__name__)

_WHOLE_WEIGHTS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def run(config: TrainConfig, paths: RunPaths) -> int:
    """Trains and returns the process's exit code: 0, or 128 + signal after an interruption.

    Raises:
        ExplicitLMError: anything a user can mend; its exit code and message are the caller's to give.
    """
    rank = int(os.environ.get("RANK", "0"))
    status = reports.StatusFile(paths.run_dir, is_main=rank == 0)
    stop = SignalHandler()
    stop.install()
    session = Session(config, paths, stop, rank)
    try:
        status.write("running", None)
        session.train()
    except Interrupted as signal:
        session.finish("aborted", f"interrupted by {signal.name}")
        status.write("interrupted", signal.exit_code, signal=signal.name)
        session.display.show(f"interrupted by {signal.name}; the same command with --resume continues")
        return signal.exit_code
    except BaseException as error:
        session.finish("crashed", str(error) or type(error).__name__)
        status.write("failed", _exit_code(error), error=str(error) or type(error).__name__)
        raise
    session.note_inputs()
    status.write("done", 0)  # from here on the run is finished, whatever ends this process
    session.finish("success", None)
    return 0


def _exit_code(error: BaseException) -> int:
    """What `errors.run_reporting` will make of an error; 1 for a bug's traceback."""
    if isinstance(error, ExplicitLMError):
        return error.exit_code
    return StorageError.exit_code if isinstance(error, OSError) else 1


class Session:
    """The parts of one training, made in the order in which they can fail."""

    def __init__(self, config: TrainConfig, paths: RunPaths, stop: SignalHandler, rank: int) -> None:
        self._config, self._places, self._stop, self._rank = config, paths, stop, rank
        self.display = Display(is_main=rank == 0)
        self._tracker: Tracker | None = None
        self._open = ExitStack()  # files to be closed at the end
        self._watch = InputWatch() if rank == 0 else None
        self._usage = Usage()
        self._used: Callable[[], dict[str, Any]] | None = None

    def train(self) -> None:
        """From reading the data to writing the checkpoint and metrics.json."""
        config, paths = self._config, self._places
        set_up(config.seed, self._rank)
        run_data = load_run_data(config, paths)
        accelerator = self._accelerator()
        group = Group()
        identity = Identity(checkpoint.weight_settings(config), run_data.digest, group.size)
        states = StateStore(paths.states, paths.metrics_dir, identity, group)
        digests = DigestChain(paths.metrics_dir / DIGESTS, identity.data, json.dumps(identity.settings), group)
        model = self._model(run_data)
        seed_noise(config.seed, self._rank)
        if group.rank == 0:
            write_json(paths.run_dir / "environment.json", reports.environment(config, group.size, accelerator.device))
            if knowledge := run_data.knowledge:
                write_json(paths.run_dir / "knowledge.json", {"left_out": knowledge.left_out, "cut": knowledge.cut})
        if not paths.resume:
            states.begin()
        writer = MetricsWriter(paths.metrics_dir) if group.rank == 0 and not paths.resume else None
        observers = Observers(self.display)
        trainer = Trainer(config, run_data, model, accelerator, group, self._stop, states, digests, observers)
        if paths.resume:
            trainer.resume()
        seen_before = trainer.tokens
        self._used = lambda: self._usage.read(trainer.tokens - seen_before, states.cost)
        if paths.resume:
            writer = MetricsWriter(paths.metrics_dir, trainer.step) if group.rank == 0 else None
        if writer:
            self._open.enter_context(writer)
        self._start_tracker()
        observers.connect(writer, self._tracker, summarise=writer.summary if writer else None)
        self._stop.deferred = True
        metrics = trainer.run(paths.stop_after)
        if metrics is None:
            self.display.show(f"stopped after {trainer.step} of {trainer.steps} steps, as asked: no checkpoint")
        elif group.rank == 0 and writer:
            facts = run_data.knowledge.facts if run_data.knowledge else {}
            answers.write(paths.items, trainer.answers())
            checkpoint.save(paths.out_dir, accelerator.unwrap_model(model), run_data.tokenizer, facts)
            writer.summary(metrics)
            self.display.show(f"done: {paths.out_dir}, {metrics['steps']:,} steps, val_loss {metrics['val_loss']:.4f}")
        group.barrier()

    def finish(self, state: State, error: str | None) -> None:
        """Closes the display and the tracker and writes what is known of the run; safe at any moment."""
        self.display.stop()
        self._open.close()
        self.note_inputs()
        if self._tracker:
            self._tracker.finish(state, error)
            write_json(self._places.run_dir / "tracker.json", self._tracker.info())
        if self._used and self._rank == 0:
            write_json(self._places.run_dir / "usage.json", self._used())

    def note_inputs(self) -> None:
        """Writes which files of the project the run has read, once."""
        if self._watch:
            own = (self._places.out_dir, self._places.metrics_dir, self._places.run_dir, WORK_DIR)
            write_json(self._places.run_dir / "inputs.json", self._watch.files(Path.cwd(), own))
            self._watch = None

    def _accelerator(self) -> Accelerator:
        """Devices and processes as `accelerate launch` or its configuration says; CPU where there is no GPU."""
        # The bank is a buffer and equal on all ranks: broadcasting it before each forward would cost 32 MiB.
        # torch 2.13 wants the option's new name, which accelerate's handler does not have yet.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
        handler = DistributedDataParallelKwargs(broadcast_buffers=False)
        accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=self._config.mixed_precision,
            kwargs_handlers=[handler],
        )
        if accelerator.distributed_type not in _WHOLE_WEIGHTS:
            raise UsageError(
                f"accelerate is configured for {accelerator.distributed_type.value}, which splits the weights; "
                "bank updates, digests and resume states need them whole in every process",
                "accelerate launch --multi_gpu --num_processes N 1_pretrain.py ...",
            )
        return accelerator

    def _model(self, run_data: RunData) -> ExplicitLM:
        """The model with its bank filled; the rows of facts are marked and stay as they are."""
        model = ExplicitLM(self._config, run_data.tokenizer.pad_id, run_data.tokenizer.start_id)
        if model.bank is not None and run_data.knowledge is not None:
            knowledge = run_data.knowledge
            model.bank.load(torch.from_numpy(knowledge.rows_NL.astype("int32")))
            row_M = torch.tensor(list(knowledge.facts), dtype=torch.int64)
            model.bank.hold_facts(row_M, torch.from_numpy(knowledge.objects_N2)[row_M])
        if run_data.embeddings_VD is not None:
            checkpoint.load_embeddings(model, torch.from_numpy(run_data.embeddings_VD))
        return model

    def _start_tracker(self) -> None:
        """SwanLab if it is asked for, on the first process only."""
        if self._rank == 0:
            paths = self._places
            self._tracker = start_tracker(
                self._config, paths.run_id or "local", paths.description, paths.run_dir, paths.resume
            )
            write_json(paths.run_dir / "tracker.json", self._tracker.info())
