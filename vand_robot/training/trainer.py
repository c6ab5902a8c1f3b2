"""Behavior cloning: whole episodes, backpropagated through time.

Everything random follows from (seed, update), so a run that was stopped goes on exactly as if it
had not been. The training loss does not predict success in simulation: where validation rollouts
are given (`score`), they choose the best checkpoint.
"""

import copy
import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.random import SeedSequence
from rich.console import Console
from torch import Tensor

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_envs.errors import UsageError, VandError
from vand_robot.config import validation
from vand_robot.config.loading import to_yaml
from vand_robot.config.schema import AUTO, TrainConfig
from vand_robot.data.batches import Batch
from vand_robot.data.loading import TrainingData, load_data
from vand_robot.layout import CONFIG_HEADER, TRAINER_JSON, TRAINER_TENSORS, RunFolder
from vand_robot.nn import apply_schedules, dual_step
from vand_robot.nn.shards import sharded
from vand_robot.policies.checkpoint import (
    Checkpoint,
    TrainerState,
    load_checkpoint,
    load_trainer_state,
    save_checkpoint,
)
from vand_robot.policies.device import find_device
from vand_robot.policies.provenance import note_start
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.tracking import require_trackers
from vand_robot.training.adaptation import adaptation_of
from vand_robot.training.device import note_other_scan, with_device
from vand_robot.training.initial_weights import Start
from vand_robot.training.logging import RunningMeans, note_unscored
from vand_robot.training.loop import OnUpdate, PolicyScorer, batch_stream, run_updates
from vand_robot.training.optim import (
    WEIGHTS,
    learning_rate,
    make_optimizer,
    require_training_tensors,
    set_learning_rate,
)
from vand_robot.training.processes import (
    TrainingProcesses,
    all_together,
    require_divisible,
)
from vand_robot.training.threads import fastest_threads, torch_settings
from vand_robot.training.update_metrics import UpdateMetrics, not_finite

MAY_CHANGE_ON_RESUME = frozenset(
    ("data", "device", "stream", "updates", "validation_interval", "rollouts.interval", "trackers")
)
"""Keys that may change when a run is resumed. The demonstrations themselves may not."""

TORCH_STREAM = 0x70C4
"""Keeps torch's random numbers apart from those that draw batches."""

EMA_WARMUP = 10
"""The average forgets quickly at first: its decay is at most (1 + update) / (10 + update)."""


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run."""

    out: Path
    """Its folder."""
    updates: int
    """Updates done."""
    best: Mapping[str, float]
    """Metrics of the best checkpoint, and its `"update"`."""
    seconds: float
    """Time that this call took [s]."""


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    init: str | Path | None = None,
    score: PolicyScorer | None = None,
    scored_tasks: Collection[str] = (),
    extras: Mapping[str, Any] | None = None,
    console: Console | None = None,
    on_update: OnUpdate | None = None,
    processes: TrainingProcesses | None = None,
) -> TrainResult:
    """Train a policy.

    Args:
        config: The run.
        out: Folder for `best/`, `last/`, `config.yaml`, `metrics.jsonl` and TensorBoard's files.
        resume: Go on from `last/`, exactly; `init` is not looked at then.
        force: Replace a run that is there.
        init: Run to begin with the weights of, for fine-tuning; see `take_weights`.
        score: Validation rollouts, which choose the best checkpoint; else the loss does.
        scored_tasks: Tasks that `score` rolls out; a note names the others. Empty: not known.
        extras: Stored in the checkpoints; what JSON can hold. Resuming keeps a run's other keys.
        console: Where to show progress.
        on_update: See `OnUpdate`. What it raises stops the run, which can be resumed.
        processes: Those that train together, see `joined_processes`; the first scores and tells.

    Raises:
        UsageError: A mistake in the configuration, a folder that is taken, or no such device.
        TrainingInterruptedError: Ctrl-C; the present update was finished and saved.
        VandError: Unusable data, a full disk, a folder in use, or a loss that is not finite.
    """
    began, folder = time.monotonic(), RunFolder(Path(out))
    with all_together(processes):
        # built anew, so that bounds hold however the configuration was made
        config = validation.build(TrainConfig, validation.to_dict(config))
        require_trackers(config.trackers)
        folder.claim(resume=resume, force=force)
        config = with_device(config, folder, console, resume=resume)
        device, processes = _placed(config, processes)
    threads = 1 if config.threads == AUTO else config.threads
    with (
        torch_settings(threads, device, config.precision) as max_threads,
        closing(_load_together(config, processes, console)) as loaded,
        _locked(folder, processes),
    ):
        data, most = loaded.to(device), 1 if processes is not None else max_threads
        with all_together(processes):
            config = _with_threads(config, data, folder, most, resume=resume)
            by = Start(init, console)
            trainer = _resumed(config, data, folder) if resume else _new_trainer(config, data, by)
            trainer.processes = processes
            trainer.extras = {**trainer.extras, **(extras or {})}
            if console is not None and score is not None and scored_tasks:
                note_unscored(trainer.data.train.groups, scored_tasks, console)
        _begin(trainer, folder, device, console, resume=resume)
        run_updates(trainer, folder, score, console, on_update)
    return TrainResult(folder.path, trainer.update, trainer.best, time.monotonic() - began)


def _load_together(
    config: TrainConfig, processes: TrainingProcesses | None, console: Console | None
) -> TrainingData:
    with all_together(processes):
        loaded = load_data(config, console)
    return loaded  # noqa: RET504  (a block that may swallow errors would not return)


@contextmanager
def _locked(folder: RunFolder, processes: TrainingProcesses | None) -> Iterator[None]:
    """Make a run's folder and hold its lock; of several processes the first one does."""
    with ExitStack() as stack:
        with all_together(processes):
            if processes is None or processes.leads:
                with disk_errors("write", folder.path):
                    folder.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(folder.path, folder.path))
        yield


def _placed(
    config: TrainConfig, processes: TrainingProcesses | None
) -> tuple[torch.device, TrainingProcesses | None]:
    """Where this process trains, and the processes that train together there."""
    device = find_device(config.device)
    if processes is None:
        return device, None
    require_divisible(config, processes)
    processes = processes.on(device)
    return processes.device, processes


def _begin(
    trainer: "Trainer",
    folder: RunFolder,
    device: torch.device,
    console: Console | None,
    *,
    resume: bool,
) -> None:
    """Make a run's folder ready, and note what begins; of several processes the first one does."""
    with all_together(trainer.processes):
        if trainer.processes is not None and not trainer.processes.leads:
            return
        config = trainer.config
        if resume:
            note_other_scan(folder, config.device, console)
        else:
            folder.clear()
        write_bytes(folder.config, f"{CONFIG_HEADER}\n{to_yaml(config)}".encode())
        note_start(folder, config.data, device, from_update=trainer.update)


class Trainer:
    """A policy in training: its weights and their average, the optimizer, the update reached.

    Args:
        config: The run.
        data: The demonstrations.
        policy: The policy, in its initial state.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, policy: RecurrentPolicy) -> None:
        self.config = config
        self.data = data
        self.policy = policy
        self.averaged = copy.deepcopy(policy).eval() if config.ema_decay else policy
        self.optimizer = make_optimizer(policy, config.optimizer)
        self.adaptation = adaptation_of(config, data.train, policy)
        self.processes: TrainingProcesses | None = None
        self.update = 0
        self.means = RunningMeans()
        self.best: dict[str, float] = {}
        self.validation_pending = False
        self.extras: Mapping[str, Any] = {}

    def step(self, batch: Batch, folder: RunFolder) -> UpdateMetrics:
        """Make one update and return its metrics.

        Raises:
            VandError: The loss or the gradient is not finite; the batch is saved in the folder.
        """
        update, config = self.update + 1, self.config
        torch.manual_seed(_torch_seed(config.seed, update))
        rate = learning_rate(update, config.updates, config.optimizer)
        set_learning_rate(self.optimizer, rate)
        for policy in {self.policy, self.averaged}:
            apply_schedules(policy, config.ramps, update)
        self.policy.train()
        loss = self.policy.loss(
            batch,
            truncate_steps=config.truncate_steps,
            input_noise_std=config.input_noise_std,
            precision=config.precision,
        )
        self.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.processes is not None:
            self.processes.sum_gradients(self.policy)
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.optimizer.clip_norm)
        metrics = UpdateMetrics.of(loss, norm, rate)
        if self.processes is not None:
            metrics = self.processes.sum_metrics(metrics)
        if not metrics.is_finite:
            with all_together(self.processes):
                if self.processes is None or self.processes.leads:
                    raise not_finite(folder.non_finite, update, batch, loss, metrics)
        if self.adaptation is not None:
            self.adaptation.drop_gradients(self.policy)
        self.optimizer.step()
        with sharded(batch.shard):
            dual_step(self.policy)
        self.update = update
        if self.averaged is not self.policy:
            self._average()
        if self.adaptation is not None:
            self.adaptation.step(self.policy, self.averaged, self.optimizer, batch, update)
        return metrics

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.update) / (EMA_WARMUP + self.update))
        weights, buffers = self.averaged.parameters(), self.averaged.buffers()
        for mean, now in zip(weights, self.policy.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for mine, theirs in zip(buffers, self.policy.buffers(), strict=True):
            mine.copy_(theirs)

    def save(self, folder: Path, metrics: Mapping[str, float], *, trainer: bool = False) -> None:
        """Write a checkpoint; with `trainer`, the state to go on from as well."""
        saved = Checkpoint(self.averaged, self.config, self.update, metrics, self.extras)
        state = None
        if trainer:
            valid = self.data.valid
            state = TrainerState(
                update=self.update,
                tensors=self._tensors(),
                best=self.best,
                fingerprint=self.data.train.fingerprint,
                valid_fingerprint=None if valid is None else valid.fingerprint,
                mean_sums=self.means.sums,
                mean_count=self.means.count,
                validation_pending=self.validation_pending,
            )
        save_checkpoint(folder, saved, state)

    def restore(self, saved: Checkpoint, state: TrainerState, file: Path) -> None:
        """Takes up a run where it was saved.

        Args:
            saved: The policy.
            state: The state of training.
            file: Where its tensors are from, for error messages.

        Raises:
            VandError: A tensor does not belong to this policy and optimizer.
        """
        weights_before = {} if self.averaged is self.policy else self.policy.state_dict()
        require_training_tensors(file, state.tensors, self.policy, weights_before)
        parameters = dict(self.policy.named_parameters())
        weights: dict[str, Tensor] = {}
        for key, tensor in state.tensors.items():
            part, _, name = key.partition("/")
            if part == WEIGHTS:
                weights[name] = tensor
            else:
                parameter = parameters[name]
                self.optimizer.state[parameter][part] = tensor.to(parameter.device, copy=True)
        self.averaged.load_state_dict(saved.policy.state_dict())
        if weights:
            self.policy.load_state_dict(weights)
        self.update, self.best = state.update, dict(state.best)
        self.validation_pending = state.validation_pending
        self.means = RunningMeans(state.mean_sums, state.mean_count)
        self.extras = saved.extras

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors that `restore` needs beside the policy: `exp_avg/<parameter>` and so on."""
        moments = {
            f"{part}/{name}": tensor
            for name, parameter in self.policy.named_parameters()
            for part, tensor in self.optimizer.state.get(parameter, {}).items()
        }
        if self.averaged is self.policy:
            return moments
        weights = self.policy.state_dict()
        return {**moments, **{f"{WEIGHTS}/{name}": tensor for name, tensor in weights.items()}}


def _with_threads(
    config: TrainConfig, data: TrainingData, folder: RunFolder, max_threads: int, *, resume: bool
) -> TrainConfig:
    """The configuration with a number for `threads`; `auto` is measured, or that of the old run."""
    if config.threads != AUTO:
        return config
    if resume:
        threads = load_checkpoint(folder.last).config.threads
        torch.set_num_threads(int(threads))
        return dataclasses.replace(config, threads=threads)
    trial = _new_trainer(config, data)
    with closing(batch_stream(config, data)) as batches:
        batch = batches.batch(1)
    threads = fastest_threads(lambda: trial.step(batch, folder), max_threads)
    return dataclasses.replace(config, threads=threads)


def _new_trainer(config: TrainConfig, data: TrainingData, start: Start | None = None) -> Trainer:
    torch.manual_seed(_torch_seed(config.seed, 0))
    policy = RecurrentPolicy(config.policy, data.spec)
    policy.fit_normalizer(data.train.moments)
    (start or Start()).give_weights(policy)
    return Trainer(config, data, policy.to(data.train.device))  # drawn on the CPU: the same on all


def _resumed(config: TrainConfig, data: TrainingData, folder: RunFolder) -> Trainer:
    out = folder.path
    saved, state = load_checkpoint(folder.last), load_trainer_state(folder.last)
    before = validation.flatten(validation.to_dict(saved.config))
    now = validation.flatten(validation.to_dict(config))
    for key in sorted((before.keys() | now.keys()) - MAY_CHANGE_ON_RESUME):
        if before.get(key) != now.get(key):
            change = f"{key} was {before.get(key)!r}, now it is {now.get(key)!r}"
            raise UsageError(f"cannot resume {out}: {change}")
    if config.updates < state.update:
        change = f"expected at least the {state.update} that are done, got {config.updates}"
        raise UsageError(f"cannot resume {out}: updates: {change}")
    if state.update != saved.update:
        wrong = f"update: expected {saved.update} as in the policy, got {state.update}"
        raise VandError(f"{folder.last / TRAINER_JSON}: {wrong}")
    if state.fingerprint != data.train.fingerprint:
        raise UsageError(f"cannot resume {out}: data: the demonstrations are not those of the run")
    valid = None if data.valid is None else data.valid.fingerprint
    if state.knows_valid and state.valid_fingerprint != valid:
        which = "the demonstrations held back for validation"
        raise UsageError(f"cannot resume {out}: data: {which} are not those of the run")
    trainer = Trainer(config, data, saved.policy.to(data.train.device))
    trainer.restore(saved, state, folder.last / TRAINER_TENSORS)
    return trainer


def _torch_seed(seed: int, update: int) -> int:
    return int(SeedSequence([seed, update, TORCH_STREAM]).generate_state(1)[0])
