"""Training as a run on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from vand_demos.native import NATIVE
from vand_demos.storage.layout import waiting_note
from vand_demos.storage.reader import DemoDataset
from vand_envs import make_world
from vand_envs.robot import get_robot
from vand_robot.config.loading import load_config
from vand_robot.config.schema import TrainConfig
from vand_robot.evaluation.evaluate import ValidationScore
from vand_robot.evaluation.reference import (
    TaskReference,
    references_from_datasets,
    to_extras,
)
from vand_robot.training.processes import TrainingProcesses, all_together, joined_processes
from vand_robot.training.trainer import TrainResult, train


def run_training(
    config_path: Path,
    overrides: Sequence[str],
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    init: Path | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Train as a configuration says, choosing the checkpoint by rollouts on validation seeds.

    Args:
        config_path: YAML file.
        overrides: `key=value` texts.
        out: Folder of the run.
        resume: Go on from its last checkpoint.
        force: Replace a run that is there.
        init: Run to begin with the weights of.
        console: Where to show progress.

    Returns:
        The result of the run.

    Raises:
        UsageError: A mistake in the configuration, or a folder that is taken.
        VandError: Unusable data; see `train`.
    """
    with joined_processes() as processes:
        if processes is not None and not processes.leads:
            console = None
        with all_together(processes):
            config = load_config(config_path, overrides)
        return train_configured(
            config,
            out,
            resume=resume,
            force=force,
            init=init,
            console=console,
            processes=processes,
        )


def train_configured(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    init: Path | None = None,
    console: Console | None = None,
    processes: TrainingProcesses | None = None,
) -> TrainResult:
    """As `run_training`, of a configuration that was read already, in one process of several."""
    references: dict[str, TaskReference] = {}
    with all_together(processes):
        if processes is None or processes.leads:
            references = _references(config, console)
    return train(
        config,
        out,
        resume=resume,
        force=force,
        init=init,
        score=ValidationScore(references, config.rollouts.episodes) if references else None,
        scored_tasks=references.keys(),
        extras={**to_extras(references), **({} if init is None else {"init": str(init)})},
        console=console,
        processes=processes,
    )


def _references(config: TrainConfig, console: Console | None) -> dict[str, TaskReference]:
    """What the policy's rollouts are judged by; notes on what is not trained on, or not judged."""
    if console is not None:
        for note in _notes(config.data):
            console.print(note)
    known, foreign = _tasks(config)
    tasks = known if foreign else config.tasks
    references = references_from_datasets(config.data, tasks) if known else {}
    if console is not None and foreign:
        console.print(_unscored(foreign, all_of_them=not references), soft_wrap=True)
    return references


def _tasks(config: TrainConfig) -> tuple[list[str], list[str]]:
    """The tasks to learn that can be simulated here, and those that cannot.

    Raises:
        VandError: The files of a data set's robot are not here; the line says what to install.
    """
    known: set[str] = set()
    foreign: set[str] = set()
    for path in config.data:
        with DemoDataset.open(path, guarded=True) as dataset:
            kwargs = dataset.env_args["env_kwargs"]
            simulated = kwargs["action_mode"] != NATIVE and "scene" not in kwargs
            if simulated:  # found before the first update, for the rollouts
                make_world(get_robot(kwargs["robot"]))
            (known if simulated else foreign).update(dataset.tasks)
    wanted = set(config.tasks) or known | foreign
    return sorted(known & wanted), sorted(foreign & wanted)


def _unscored(tasks: Sequence[str], *, all_of_them: bool) -> str:
    """The note that tasks have no simulator, and what chooses the checkpoint then."""
    chooses = "the validation loss chooses the checkpoint" if all_of_them else "no rollouts of them"
    return f"note: no simulator for {', '.join(tasks)}: {chooses}"


def _notes(paths: Sequence[str]) -> Iterator[str]:
    """Notes on recordings that are not trained on, a line each."""
    for path in paths:
        if waiting := waiting_note(path):
            yield waiting
        with DemoDataset.open(path, guarded=True) as dataset:
            left = dataset.unassigned
        if left:
            yield (
                f"note: {len(left)} of {len(dataset)} demonstrations of {path}, such as {left[0]},"
                " are in neither of its splits train and valid, so nothing learns from them; to"
                f" make the splits anew: vand-robot demos split {path}"
            )
