"""The loop of a training run: updates, validation, checkpoints, reports."""

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from vand_demos.system.interrupt import Interrupt
from vand_envs.errors import VandError
from vand_robot.config import validation
from vand_robot.config.schema import TrainConfig
from vand_robot.data.batches import BatchStream, EpisodeBuffer
from vand_robot.data.loading import TrainingData
from vand_robot.layout import RunFolder
from vand_robot.metrics.training_metrics import ROLLOUTS, SCORE, TRAIN, UPDATE, VALID_NLL
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.tracking import open_trackers
from vand_robot.training.adaptation import HeldOutAdaptation
from vand_robot.training.device import on_cpu
from vand_robot.training.logging import MetricsLogger, ProgressDisplay
from vand_robot.training.processes import TrainingProcesses, all_together
from vand_robot.training.update_metrics import UpdateMetrics

if TYPE_CHECKING:
    from vand_robot.training.trainer import Trainer

LOG_INTERVAL = 10
"""Updates between two lines of `metrics.jsonl`."""

PolicyScorer = Callable[[RecurrentPolicy], Mapping[str, float]]
"""Rolls a policy out: metrics, of which `"score"` ranks checkpoints, the higher the better."""
OnUpdate = Callable[[int, Mapping[str, float]], object]
"""Called after every update with its number and its metrics, such as `"train/nll"`, after a
validation with `"valid/nll"` and `"rollouts/score"` too; see `metrics.training_metrics`."""


class TrainingInterruptedError(VandError):
    """Training was stopped by Ctrl-C, and can be resumed."""

    exit_code = 130


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
    return {VALID_NLL: mean, **{f"{VALID_NLL}/{task}": nll for task, nll in by_task.items()}}


@dataclass(frozen=True)
class _Reporter:
    """Where the metrics of an update go."""

    log: MetricsLogger
    display: ProgressDisplay
    on_update: OnUpdate | None

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Write down and show metrics, if there are any."""
        if metrics:
            self.log.write(update, metrics)
            self.display.show(update, metrics)

    def call(self, update: int, now: UpdateMetrics | None, metrics: Mapping[str, float]) -> None:
        """Hand an update's own metrics, and those of a validation, to the caller of `train`.

        The former are not known any more where a run goes on with a validation.
        """
        if self.on_update is not None:
            validated = {k: v for k, v in metrics.items() if not k.startswith(TRAIN)}
            own = {} if now is None else _prefixed(TRAIN, now.named())
            self.on_update(update, {**own, **validated})


def run_updates(
    trainer: "Trainer",
    folder: RunFolder,
    score: PolicyScorer | None,
    console: Console | None,
    on_update: OnUpdate | None,
) -> None:
    """Make the updates that are left.

    Raises:
        TrainingInterruptedError: A signal came; the run can be resumed.
    """
    config, processes = trainer.config, trainer.processes
    if processes is not None and not processes.leads:
        with (
            closing(batch_stream(config, trainer.data, processes)) as batches,
            Interrupt() as asked,
        ):
            _follow(trainer, folder, batches, processes, asked)
        return
    named = validation.flatten(validation.to_dict(config))
    with (
        open_trackers(config.trackers, folder.path, named, trainer.update) as trackers,
        closing(batch_stream(config, trainer.data, processes, trainer.adaptation)) as batches,
        MetricsLogger(folder, trainer.update, trackers) as log,
        ProgressDisplay(console, trainer.update, config.updates) as display,
        Interrupt() as interrupt,
    ):
        reporter = _Reporter(log, display, on_update)
        _loop(trainer, folder, score, batches, reporter=reporter, interrupt=interrupt)
        trackers.finish(folder.best)


def _loop(
    trainer: "Trainer",
    folder: RunFolder,
    score: PolicyScorer | None,
    batches: BatchStream,
    *,
    reporter: _Reporter,
    interrupt: Interrupt,
) -> None:
    processes = trainer.processes
    while trainer.validation_pending or trainer.update < trainer.config.updates:
        now = None
        if not trainer.validation_pending:
            now = trainer.step(batches.batch(trainer.update + 1), folder)
            trainer.means.add(now.named())
            if trainer.adaptation is not None:
                trainer.means.add_some(trainer.adaptation.told)
        asked = processes is not None and processes.any(interrupt.requested)
        meets = asked or _meets(trainer)
        stops = partial(_stops, interrupt, asked=asked, meets=meets or processes is None)
        with all_together(processes if meets else None):
            _finish_update(trainer, folder, score, now, reporter, stops)


def _stops(interrupt: Interrupt, *, asked: bool, meets: bool) -> bool:
    """Whether the run stops now: it was asked to, or is, where all processes will hear of it."""
    return asked or (meets and interrupt.requested)


def _finish_update(
    trainer: "Trainer",
    folder: RunFolder,
    score: PolicyScorer | None,
    now: UpdateMetrics | None,
    reporter: _Reporter,
    stops: Callable[[], bool],
) -> None:
    """Validate, report and save what an update asks for.

    Raises:
        TrainingInterruptedError: A signal came; the update is saved.
    """
    config, interval, update = trainer.config, trainer.config.rollouts.interval, trainer.update
    last = update == config.updates
    validate = last or update % config.validation_interval == 0
    roll_out = score is not None and (last or (interval > 0 and update % interval == 0))
    metrics: dict[str, float] = {}
    if score is not None and roll_out:
        metrics = _rolled_out(trainer, folder, score, reporter)
    if last or update % LOG_INTERVAL == 0:
        metrics = _prefixed(TRAIN, trainer.means.take()) | metrics
    if (validate or roll_out) and trainer.data.valid is not None:
        metrics |= validation_nll(trainer.averaged, trainer.data.valid, config.batch_size)
    reporter.write(update, metrics)
    chooses = validate if score is None else roll_out
    if chooses and (not trainer.best or _rank(metrics) >= _rank(trainer.best)):
        trainer.best = {UPDATE: update, **metrics}
        trainer.save(folder.best, metrics)
    stop = stops()
    if validate or roll_out or stop:
        trainer.save(folder.last, metrics, trainer=True)
    reporter.call(update, now, metrics)
    if stop and not last:
        raise _stopped(trainer)


def _follow(
    trainer: "Trainer",
    folder: RunFolder,
    batches: BatchStream,
    processes: TrainingProcesses,
    interrupt: Interrupt,
) -> None:
    """Make the updates that are left beside the process that leads; it alone validates and writes.

    Raises:
        OtherProcessError: It has stopped, or failed.
    """
    while trainer.validation_pending or trainer.update < trainer.config.updates:
        if not trainer.validation_pending:
            trainer.step(batches.batch(trainer.update + 1), folder)
        trainer.validation_pending = False
        asked = processes.any(interrupt.requested)
        if asked or _meets(trainer):
            with processes.together():
                pass


def _meets(trainer: "Trainer") -> bool:
    """Whether processes that train together wait for the first one after this update."""
    config, update = trainer.config, trainer.update
    intervals = (LOG_INTERVAL, config.validation_interval, config.rollouts.interval)
    last = update == config.updates
    return last or any(interval > 0 and update % interval == 0 for interval in intervals)


def _rolled_out(
    trainer: "Trainer", folder: RunFolder, score: PolicyScorer, reporter: _Reporter
) -> dict[str, float]:
    """The metrics of validation rollouts; stopped in them, the run makes them when it goes on.

    Raises:
        TrainingInterruptedError: A signal came; the update is saved.
    """
    try:
        with reporter.display.rolling_out(trainer.update):
            scored = score(on_cpu(trainer.averaged.eval()))
    except KeyboardInterrupt:
        trainer.validation_pending = True
        trainer.save(folder.last, {}, trainer=True)
        raise _stopped(trainer) from None
    trainer.validation_pending = False
    return _prefixed(ROLLOUTS, {k: float(v) for k, v in scored.items() if math.isfinite(v)})


def _stopped(trainer: "Trainer") -> TrainingInterruptedError:
    done = f"stopped after update {trainer.update} of {trainer.config.updates}"
    return TrainingInterruptedError(f"{done}; to go on: the same command with --resume")


def _prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in metrics.items()}


def _rank(metrics: Mapping[str, float]) -> tuple[float, float]:
    """The order of checkpoints, the best last: by rollouts, then by the validation loss."""
    return metrics.get(SCORE, -math.inf), -metrics.get(VALID_NLL, 0.0)


def batch_stream(
    config: TrainConfig,
    data: TrainingData,
    processes: TrainingProcesses | None = None,
    adaptation: HeldOutAdaptation | None = None,
) -> BatchStream:
    """The batches of a run, in the order in which it takes them."""
    learned = data.train if adaptation is None else adaptation.parts.learned
    return BatchStream(learned, config.batch_size, config.seed, config.updates, processes)
