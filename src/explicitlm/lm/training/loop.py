"""The training loop: micro-batches, optimizer steps, bank updates, and the moments at which it can be left.

Its whole position is (step, micro): the micro-batches of optimizer step `step` that are done. Everything else
follows from the data order by arithmetic, or is part of a resume state. Evaluation belongs to the boundary after
a step; a run that was stopped during one repeats it.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device

from explicitlm.common.errors import TrainingError
from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.answers import Answer
from explicitlm.lm.data.batches import BatchPlan
from explicitlm.lm.memory.update import BankUpdater
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.training.determinism import rng_state, set_rng_state
from explicitlm.lm.training.digest import DigestChain
from explicitlm.lm.training.evaluate import Evaluator
from explicitlm.lm.training.group import Group
from explicitlm.lm.training.material import Material
from explicitlm.lm.training.meter import Meter
from explicitlm.lm.training.observers import Observers
from explicitlm.lm.training.optimizer import build_optimizer, learning_rate
from explicitlm.lm.training.run_data import RunData
from explicitlm.lm.training.signals import Interrupted, SignalHandler
from explicitlm.lm.training.state import StateStore


class Trainer:
    """One run from its first or its resumed micro-batch to its last.

    Args:
        config: all hyperparameters.
        run_data: the data, with this run's tokenizer.
        model: on the CPU, with its bank filled; equal on all processes.
        accelerator: devices, processes and precision.
        group: all processes.
        stop: signals received.
        states: where resume states go.
        digests: the chain.
        observers: metrics files, tracker and display.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_data: RunData,
        model: ExplicitLM,
        accelerator: Accelerator,
        group: Group,
        stop: SignalHandler,
        states: StateStore,
        digests: DigestChain,
        observers: Observers,
    ) -> None:
        self._config, self._run_data = config, run_data
        self._accelerator, self._group, self._stop = accelerator, group, stop
        self._states, self._digests, self._observers = states, digests, observers
        self._plan = BatchPlan(
            sequences=len(run_data.train),
            epochs=config.epochs,
            batch_size=config.batch_size,
            world_size=group.size,
            accumulation_steps=config.accumulation_steps,
            seed=config.seed,
        )
        self._wrapped, self._optimizer = accelerator.prepare(model, build_optimizer(model, config))
        self._model: ExplicitLM = accelerator.unwrap_model(self._wrapped)
        self._updater = BankUpdater(config, run_data.tokenizer.unreadable_ids(config.vocab_size))
        self._material = Material(config, run_data, self._plan)
        self._meter = Meter(accelerator.device)
        self._evaluator = Evaluator(run_data, config.max_seq_len, group, lambda: bool(stop.signum))
        self._evaluate_at = self._evaluation_steps()
        self._resumed = False
        self._step = self._micro = self._tokens = 0
        self._evaluated = 0  # the step of the last evaluation
        self._train_loss = math.nan
        self._val: dict[str, float] = {}

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self._plan.steps

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._step

    @property
    def tokens(self) -> int:
        """Targets seen since the start of the run."""
        return self._tokens

    def answers(self) -> list[Answer]:
        """What the model answered in the last evaluation, one row an item."""
        return self._evaluator.answers()

    def resume(self) -> None:
        """Goes to the moment of the last good state. Collective.

        Raises:
            UsageError: there is none for this run.
        """
        state = self._states.load()
        if self._model.router is not None:
            index = self._model.router.index
            index.load_state({name: state.weights.pop(name) for name in index.state()})
        self._model.load_state_dict(state.weights)
        self._optimizer.load_state_dict(state.optimizer)
        position, own = state.position, send_to_device(state.own, self._accelerator.device)
        for parameter, gradient in zip(self._model.parameters(), own["gradients"] or [], strict=False):
            parameter.grad = gradient
        self._updater.load_state_dict(own["updater"])
        self._meter.load_state_dict(own["meter"])
        self._digests.load_state_dict(position["digests"])
        self._resumed = True
        self._step, self._micro = position["step"], position["micro"]
        self._tokens, self._evaluated = position["tokens"], position["evaluated"]
        self._train_loss = math.nan if position["train_loss"] is None else position["train_loss"]
        set_rng_state(state.own["rng"])

    def run(self, stop_after: int | None = None) -> dict[str, float | int] | None:
        """Trains to the end and returns the final metrics; None if it was to stop before the end.

        Args:
            stop_after: optimizer steps after which it ends early; until then all is as in the whole run.

        Raises:
            Interrupted: a signal came; a state has been saved.
            TrainingError: the loss is no longer a number.
        """
        self._observers.start(self._step, self.steps, self._tokens)
        if not self._resumed:  # a run that was stopped before its first step has its first link already
            self._digests.start()
            self._link()
        self._wrapped.train()
        if self._group.size > 1 and self._step < self.steps:
            self._settle_buckets()
        while True:
            if self._micro == 0 and self._step in self._evaluate_at and self._evaluated != self._step:
                self._evaluate()
            if self._step == self.steps:
                self._states.settle()
                return self._summary()  # a signal that comes now has nothing left to interrupt
            if stop_after is not None and self._step >= stop_after:
                return None
            self._leave_if_signalled()
            self._train_micro_batch()
            if self._micro == self._plan.micro_batches(self._step):
                self._train_step()

    def _settle_buckets(self) -> None:
        """A backward pass for nothing, so that the gradients of every step are added up in the same order.

        After its first backward DDP lays out its buffers anew, in the order in which gradients came, and with three or
        more processes the layout decides in which order their numbers are added: without this, the first step after a
        resume would be added up in another order than the same step of an undisturbed run.
        """
        parameters = list(self._model.parameters())
        random, gradients = rng_state(), [parameter.grad for parameter in parameters]
        part = self._material.part(0, 0, self._group.rank)
        output = self._wrapped(**{name: self._on_device(value) for name, value in part.inputs.items()})
        self._accelerator.backward(output.loss)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        set_rng_state(random)

    def _evaluation_steps(self) -> set[int]:
        """Steps after which an evaluation stands: every `eval_interval`, or each epoch's end; always the last."""
        interval = self._config.eval_interval
        chosen = range(interval, self.steps, interval) if interval else self._plan.epoch_ends()
        return {*chosen, self.steps}

    def _train_micro_batch(self) -> None:
        """Forward and backward; the loss is weighted by this part's shares of the whole step's targets and labels.

        Distributed backward averages over processes, hence the factor `group.size`: the step's gradient is
        that of the mean over all its targets, however they are split over micro-batches and processes.
        """
        last = self._micro + 1 == self._plan.micro_batches(self._step)
        with nullcontext() if last else self._accelerator.no_sync(self._wrapped):
            part = self._material.part(self._step, self._micro, self._group.rank)
            inputs = {name: self._on_device(value) for name, value in part.inputs.items()}
            output = self._wrapped(**inputs, upkeep=self._micro == 0)
            loss = output.loss_tokens * part.of_targets + output.loss_routing * part.of_labels
            self._accelerator.backward(loss * self._group.size)
        self._updater.observe(output)
        self._meter.add(output, part.of_targets, part.of_labels)
        self._micro += 1

    def _train_step(self) -> None:
        """Optimizer step, bank update, and what is due at the boundary after it."""
        norm = self._accelerator.clip_grad_norm_(self._wrapped.parameters(), self._config.grad_clip)
        rate = learning_rate(self._step, self.steps, self._config)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._updater.apply(self._model)
        self._meter.end_step(norm, self._group.size)
        sequences = self._plan.window_ids(self._step)
        self._digests.add_sequences(sequences)
        self._tokens += self._run_data.train.targets(sequences)
        self._step, self._micro = self._step + 1, 0
        done = self._step == self.steps
        if done or self._step % self._config.log_interval == 0:
            self._log(rate)
        if done or self._digests.due(self._step, self._config.digest_interval):
            self._link()
        if done or self._step % self._config.save_interval == 0:
            self._save()
        self._observers.advance(self._step)

    def _link(self) -> None:
        """A link of the digest chain for the moment after the last optimizer step."""
        self._digests.link(self._step, self._model, self._optimizer.state_dict(), self._index_state())

    def _index_state(self) -> dict[str, torch.Tensor]:
        """The addresses among which the default form searches rows; empty in every other."""
        return self._model.router.index.state() if self._model.router is not None else {}

    def _log(self, rate: float) -> None:
        values = self._meter.read(self._group)
        if not math.isfinite(values["train/loss_total"]) or not math.isfinite(values["train/grad_norm"]):
            raise TrainingError(
                f"the loss is {values['train/loss_total']}, the gradient's norm {values['train/grad_norm']} "
                f"at step {self._step}: training has diverged",
                "start a new run with a lower learning_rate (a resumed one keeps its settings)",
            )
        self._train_loss = values["train/loss_ce"]
        self._observers.train(self._step, {**values, "train/lr": rate}, self._tokens)

    def _evaluate(self) -> None:
        with self._observers.pause():
            values = self._evaluator.run(self._model, self._accelerator.device)
        if values is None:
            self._leave_if_signalled()
            return
        self._evaluated, self._val = self._step, values
        self._observers.val(self._step, values, self._summary())

    def _leave_if_signalled(self) -> None:
        """Saves and ends the run when any process has received a signal. Collective."""
        signum = self._group.max(self._stop.signum)
        if signum:
            self._save()
            self._states.settle()
            raise Interrupted(signum)

    def _save(self) -> None:
        position = {
            "step": self._step,
            "micro": self._micro,
            "tokens": self._tokens,
            "evaluated": self._evaluated,
            "train_loss": None if math.isnan(self._train_loss) else self._train_loss,
            "digests": self._digests.state_dict(),
        }
        gradients = [parameter.grad for parameter in self._model.parameters()] if self._micro else None
        own: dict[str, Any] = {
            "rng": rng_state(),
            "gradients": gradients,
            "updater": self._updater.state_dict(),
            "meter": self._meter.state_dict(),
        }
        weights = self._model.state_dict() | self._index_state()
        with self._observers.pause():
            self._states.save(position, weights, self._optimizer.state_dict(), own)

    def _summary(self) -> dict[str, float | int]:
        """The numbers of metrics.json as they stand; the final ones are equal for equal runs."""
        short = {"val/loss": "val_loss", "val/ppl": "val_ppl"}
        return {
            **{short.get(key, key.removeprefix("val/")): value for key, value in self._val.items()},
            "train_loss": self._train_loss,
            "steps": self._step,
            "tokens": self._tokens,
            "val_tokens": self._run_data.val.targets(self._run_data.val_sequences),
            "val_items": len(self._run_data.items),
        }

    def _on_device(self, array: Any) -> Any:
        if isinstance(array, tuple):
            return tuple(self._on_device(part) for part in array)
        tensor = torch.from_numpy(array)
        if self._accelerator.device.type == "cuda":
            return tensor.pin_memory().to(self._accelerator.device, non_blocking=True)
        return tensor.to(self._accelerator.device)
