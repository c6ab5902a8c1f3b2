"""Behavior cloning: whole episodes, backpropagated through time.

Everything random follows from (seed, update), so a run that was stopped goes on exactly as if it
had not been. The training loss does not predict success in simulation: where trials are given
(`score`), they choose the best checkpoint.
"""

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from numpy.random import SeedSequence
from rich.console import Console
from torch import Tensor

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_demos.system.interrupt import Interrupt
from vand_envs.errors import UsageError, VandError
from vand_robot.config import validation
from vand_robot.config.schema import PolicyConfig, TrainConfig
from vand_robot.data.batches import Batch, BatchStream, EpisodeBuffer
from vand_robot.data.loading import TrainingData, load_data
from vand_robot.evaluation.reference import EXTRAS_KEY
from vand_robot.layout import (
    BEST,
    CONFIG_FILE,
    CONFIG_HEADER,
    LAST,
    NON_FINITE,
    RUN_ENTRIES,
)
from vand_robot.nn import dual_step, tune_allocator
from vand_robot.policies.checkpoint import (
    Checkpoint,
    TrainerState,
    find_checkpoint,
    load_checkpoint,
    load_trainer_state,
    save_checkpoint,
)
from vand_robot.policies.recurrent import PolicyLoss, RecurrentPolicy
from vand_robot.training.logging import MetricsLogger, ProgressDisplay, RunningMeans
from vand_robot.training.optim import learning_rate, make_optimizer

HARMLESS = ("data", "updates", "threads", "validation_interval", "rollouts.interval")
"""Keys that may change when a run is resumed. The demonstrations themselves may not."""

LOG_INTERVAL = 10
"""Updates between two lines of `metrics.jsonl`."""

WEIGHTS = "weights"
"""Part of the trainer's tensors: the weights themselves, where the policy is their average."""

TORCH_STREAM = 0x70C4
"""Keeps torch's random numbers apart from those that draw batches."""

EMA_WARMUP = 10
"""The average forgets quickly at first: its decay is at most (1 + update) / (10 + update)."""

PolicyScorer = Callable[[RecurrentPolicy], Mapping[str, float]]
"""Tries a policy out: figures, of which `"score"` ranks checkpoints, the higher the better."""


class TrainingInterruptedError(VandError):
    """Training was stopped by Ctrl-C, and can be resumed."""

    exit_code = 130


@dataclass(frozen=True)
class TrainResult:
    """What became of a run."""

    out: Path
    """Its folder."""
    updates: int
    """Updates done."""
    best: Mapping[str, float]
    """Figures of the best checkpoint, and its `"update"`."""
    seconds: float
    """Time that this call took [s]."""


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    score: PolicyScorer | None = None,
    extras: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Trains a policy.

    Args:
        config: The run.
        out: Folder for `best/`, `last/`, `config.yaml`, `metrics.jsonl` and TensorBoard's files.
        resume: Go on from `last/`, exactly.
        force: Replace a run that is there.
        score: Tries the policy out in simulation, every `rollouts.interval` updates and after
            the last; chooses the best checkpoint. Without it the validation loss does.
        extras: Free mapping to be stored in the checkpoints; what JSON can hold.
        console: Where to show progress; None shows nothing.

    Returns:
        What became of the run.

    Raises:
        UsageError: A mistake in the configuration; the folder is taken, or holds another run
            than the one to be resumed, or one that has made more updates.
        TrainingInterruptedError: Ctrl-C; the present update was finished and saved.
        VandError: Unusable data, a full disk, a folder that somebody else is training in, or a
            loss or gradient that is not finite.
    """
    out = Path(out)
    began = time.monotonic()
    config = validation.build(
        TrainConfig, validation.to_dict(config)
    )  # bounds hold however it was made
    _require_folder(out, resume=resume, force=force)
    if not resume:
        _require_near_field(config.policy)
    with _torch_settings(config.threads), closing(load_data(config)) as data:
        with disk_errors("write", out):
            out.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(out, out):
            run = _resumed(config, data, out) if resume else _begun(config, data)
            run.extras = run.extras if extras is None else extras
            if score is not None and console is not None:
                _note_untried(run, console)
            if not resume:
                _clear_folder(out)
            # of a resumed run too: its harmless keys may have changed
            write_bytes(
                out / CONFIG_FILE, f"{CONFIG_HEADER}\n{validation.to_yaml(config)}".encode()
            )
            with (
                closing(_batches(config, data)) as batches,
                MetricsLogger(out, run.update) as log,
                ProgressDisplay(console, run.update, config.updates) as display,
                Interrupt() as interrupt,
            ):
                _loop(run, out, score, batches, log=log, display=display, interrupt=interrupt)
    return TrainResult(out, run.update, run.best, time.monotonic() - began)


class Trainer:
    """What changes while a policy is trained.

    Args:
        config: The run.
        data: What it learns from.
        policy: The policy, in its initial state.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, policy: RecurrentPolicy) -> None:
        self.config = config
        self.data = data
        self.policy = policy
        self.averaged = copy.deepcopy(policy).eval() if config.ema_decay else policy
        self.optimizer = make_optimizer(policy, config.optimizer)
        self.update = 0
        self.means = RunningMeans()
        self.best: dict[str, float] = {}
        self.extras: Mapping[str, Any] = {}

    def step(self, batch: Batch, out: Path) -> dict[str, float]:
        """Makes one update and returns its figures."""
        update, config = self.update + 1, self.config
        torch.manual_seed(_torch_seed(config.seed, update))
        rate = learning_rate(update, config.updates, config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.policy.train()
        loss = self.policy.loss(
            batch, truncate_steps=config.truncate_steps, input_noise_std=config.input_noise_std
        )
        self.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.optimizer.clip_norm)
        figures = {
            "loss": loss.total.item(),
            "nll": loss.nll.item(),
            "future_actions": loss.future_actions.item(),
            "penalty": loss.penalty.item(),
            "gradient_norm": float(norm),
            "learning_rate": rate,
            **loss.stats,
        }
        if not (math.isfinite(figures["loss"]) and math.isfinite(figures["gradient_norm"])):
            raise _not_finite(out, update, batch, loss, figures)
        self.optimizer.step()
        dual_step(self.policy)
        self.update = update
        if self.averaged is not self.policy:
            self._average()
        return figures

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.update) / (EMA_WARMUP + self.update))
        weights, buffers = self.averaged.parameters(), self.averaged.buffers()
        for mean, now in zip(weights, self.policy.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for mine, theirs in zip(buffers, self.policy.buffers(), strict=True):
            mine.copy_(theirs)

    def save(self, folder: Path, figures: Mapping[str, float], *, trainer: bool = False) -> None:
        """Writes the policy, and what it takes to go on."""
        saved = Checkpoint(self.averaged, self.config, self.update, figures, self.extras)
        state = None
        if trainer:
            valid = self.data.valid
            facts = {
                "best": self.best,
                "fingerprint": self.data.train.fingerprint,
                "valid_fingerprint": None if valid is None else valid.fingerprint,
                "means": self.means.to_json(),
            }
            state = TrainerState(self.update, facts, self._tensors())
        save_checkpoint(folder, saved, state)

    def restore(self, saved: Checkpoint, state: TrainerState) -> None:
        """Takes up a run where it was saved."""
        parameters = dict(self.policy.named_parameters())
        weights: dict[str, Tensor] = {}
        for key, tensor in state.tensors.items():
            part, _, name = key.partition("/")
            if part == WEIGHTS:
                weights[name] = tensor
            else:
                self.optimizer.state[parameters[name]][part] = tensor.clone()
        self.averaged.load_state_dict(saved.policy.state_dict())
        if weights:
            self.policy.load_state_dict(weights)
        self.update, self.best = state.update, dict(state.facts["best"])
        self.means = RunningMeans(**state.facts.get("means", {}))  # older states lack them
        self.extras = saved.extras

    def _tensors(self) -> dict[str, Tensor]:
        """What `restore` needs beside the saved policy: `exp_avg/<parameter>` and so on."""
        moments = {
            f"{part}/{name}": tensor
            for name, parameter in self.policy.named_parameters()
            for part, tensor in self.optimizer.state.get(parameter, {}).items()
        }
        if self.averaged is self.policy:
            return moments
        weights = self.policy.state_dict()
        return {**moments, **{f"{WEIGHTS}/{name}": tensor for name, tensor in weights.items()}}


@torch.no_grad()
def validation_nll(
    policy: RecurrentPolicy, demonstrations: EpisodeBuffer, batch_size: int
) -> dict[str, float]:
    """Negative log likelihood of demonstrations, without noise [nats per step].

    Returns:
        `"valid/nll"`, the mean over tasks, and `"valid/nll/<task>"`, means over steps.
    """
    policy.eval()
    totals: dict[str, float] = {}
    steps: dict[str, int] = {}
    for task, batch in demonstrations.per_task(batch_size):
        nll = float(policy.loss(batch).nll)
        totals[task] = totals.get(task, 0.0) + nll * batch.steps
        steps[task] = steps.get(task, 0) + batch.steps
    by_task = {task: total / steps[task] for task, total in totals.items()}
    mean = sum(by_task.values()) / len(by_task)
    return {"valid/nll": mean, **{f"valid/nll/{task}": nll for task, nll in by_task.items()}}


def _loop(
    run: Trainer,
    out: Path,
    score: PolicyScorer | None,
    batches: BatchStream,
    *,
    log: MetricsLogger,
    display: ProgressDisplay,
    interrupt: Interrupt,
) -> None:
    config = run.config
    while run.update < config.updates:
        run.means.add(run.step(batches.batch(run.update + 1), out))
        last = run.update == config.updates
        validate = last or run.update % config.validation_interval == 0
        interval = config.rollouts.interval
        try_out = score is not None and (last or (interval > 0 and run.update % interval == 0))
        figures: dict[str, float] = {}
        if last or run.update % LOG_INTERVAL == 0:
            figures |= {f"train/{name}": value for name, value in run.means.take().items()}
        if (validate or try_out) and run.data.valid is not None:
            figures |= validation_nll(run.averaged, run.data.valid, config.batch_size)
        if score is not None and try_out:
            tried = score(run.averaged.eval())
            figures |= {f"rollouts/{k}": float(v) for k, v in tried.items() if math.isfinite(v)}
        if figures:
            log.write(run.update, figures)
            display.show(run.update, figures)
        chooses = validate if score is None else try_out
        if chooses and (not run.best or _rank(figures) >= _rank(run.best)):
            run.best = {"update": run.update, **figures}
            run.save(out / BEST, figures)
        if validate or try_out or interrupt.requested:
            run.save(out / LAST, figures, trainer=True)
        if interrupt.requested and not last:
            done = f"stopped after update {run.update} of {config.updates}"
            raise TrainingInterruptedError(f"{done}; to go on: the same command with --resume")


def _rank(figures: Mapping[str, float]) -> tuple[float, float]:
    """What makes a checkpoint better than another: trials, then validation."""
    return figures.get("rollouts/score", -math.inf), -figures.get("valid/nll", 0.0)


def _batches(config: TrainConfig, data: TrainingData) -> BatchStream:
    return BatchStream(data.train, config.batch_size, config.seed, config.updates)


def _begun(config: TrainConfig, data: TrainingData) -> Trainer:
    torch.manual_seed(_torch_seed(config.seed, 0))
    policy = RecurrentPolicy(config.policy, data.spec)
    policy.fit_normalizer(data.train.observations)
    return Trainer(config, data, policy)


def _resumed(config: TrainConfig, data: TrainingData, out: Path) -> Trainer:
    saved, state = load_checkpoint(out / LAST), load_trainer_state(out / LAST)
    before = validation.flatten(validation.to_dict(saved.config))
    now = validation.flatten(validation.to_dict(config))
    for key in sorted((before.keys() | now.keys()) - set(HARMLESS)):
        if before.get(key) != now.get(key):
            change = f"{key} was {before.get(key)!r}, now it is {now.get(key)!r}"
            raise UsageError(f"cannot resume {out}: {change}")
    if config.updates < state.update:
        change = f"expected at least the {state.update} that are done, got {config.updates}"
        raise UsageError(f"cannot resume {out}: updates: {change}")
    if state.facts["fingerprint"] != data.train.fingerprint:
        raise UsageError(f"cannot resume {out}: data: the demonstrations are not those of the run")
    valid = None if data.valid is None else data.valid.fingerprint
    if state.facts.get("valid_fingerprint", valid) != valid:  # older states lack it
        which = "the demonstrations held back for validation"
        raise UsageError(f"cannot resume {out}: data: {which} are not those of the run")
    run = Trainer(config, data, saved.policy)
    run.restore(saved, state)
    return run


def _require_folder(out: Path, *, resume: bool, force: bool) -> None:
    if resume and force:
        raise UsageError("resume a run or replace it by force, not both")
    if resume:
        if not out.is_dir():
            raise UsageError(f"nothing to resume: {out} does not exist")
        find_checkpoint(out / LAST)
    elif out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder")
    elif out.exists() and any(out.iterdir()):
        if not force:
            raise UsageError(f"{out} exists: go on with --resume, replace it with --force")
        if not _is_run(out):
            raise UsageError(
                f"{out} is not a run's folder (no {CONFIG_FILE} of a run): not replaced"
            )


def _require_near_field(policy: PolicyConfig) -> None:
    """Refuses object attention that would be left out."""
    if policy.attention_heads and not policy.near_field_scales_m:
        raise UsageError(
            "policy.near_field_scales_m: expected a range at least, got none, and"
            f" policy.attention_heads={policy.attention_heads} looks through them; without ranges"
            " set policy.attention_heads=0 too"
        )


def _note_untried(run: Trainer, console: Console) -> None:
    """Says which tasks are trained on and never tried out, where the extras tell."""
    standards = run.extras.get(EXTRAS_KEY, {})
    tasks = sorted(run.data.train.groups.keys() - standards.keys()) if standards else []
    if tasks:
        note = f"no trials of {', '.join(tasks)}: no successful demonstration to judge them by"
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _is_run(out: Path) -> bool:
    config = out / CONFIG_FILE
    return config.is_file() and config.read_text(encoding="utf-8").startswith(CONFIG_HEADER)


def _clear_folder(out: Path) -> None:
    """Clears what an older run left there, and nothing else."""
    with disk_errors("write", out):
        for entry in (out / name for name in RUN_ENTRIES):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


@contextmanager
def _torch_settings(threads: int) -> Iterator[None]:
    """Sets the number of threads; puts it and the caller's random numbers back afterwards."""
    previous = torch.get_num_threads()
    with torch.random.fork_rng(devices=()):
        torch.set_num_threads(threads or previous)
        tune_allocator()
        try:
            yield
        finally:
            torch.set_num_threads(previous)


def _torch_seed(seed: int, update: int) -> int:
    return int(SeedSequence([seed, update, TORCH_STREAM]).generate_state(1)[0])


def _not_finite(
    out: Path, update: int, batch: Batch, loss: PolicyLoss, figures: Mapping[str, float]
) -> VandError:
    """Saves what the update saw, and says where."""
    tensors = {
        "observations": batch.observations,
        "actions": batch.actions,
        "lengths": batch.lengths,
        "states": loss.output,
        **batch.images,
    }
    packed = safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()})
    write_bytes(out / NON_FINITE, packed)
    came = f"loss {figures['loss']}, gradient norm {figures['gradient_norm']}"
    return VandError(f"update {update}: not finite ({came}); its batch is in {out / NON_FINITE}")
