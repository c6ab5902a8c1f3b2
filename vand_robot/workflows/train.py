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
from vand_robot.data.loading import require_readable_files
from vand_robot.evaluation.evaluate import ValidationScore
from vand_robot.evaluation.reference import TaskReference, references_from_datasets, to_extras
from vand_robot.progress import counting
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
    config = load_config(config_path, overrides)
    return train_configured(config, out, resume=resume, force=force, init=init, console=console)


def train_configured(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    init: Path | None = None,
    console: Console | None = None,
) -> TrainResult:
    """As `run_training`, of a configuration that was read already."""
    require_readable_files(config.data, console)
    known, foreign = _tasks(config, console)
    tasks = known if foreign else config.tasks
    references: dict[str, TaskReference] = {}
    if known:
        with counting(console, "measuring demonstrations", len(config.data)) as progress:
            references = references_from_datasets(config.data, tasks, progress)
    if console is not None and foreign:
        console.print(_unscored(foreign, all_of_them=not references), soft_wrap=True)
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
    )


def _tasks(config: TrainConfig, console: Console | None) -> tuple[list[str], list[str]]:
    """The tasks to learn that can be simulated here, and those that cannot.

    Notes on recordings that are not trained on are printed.

    Raises:
        VandError: The files of a data set's robot are not here; the line says what to install.
    """
    known: set[str] = set()
    foreign: set[str] = set()
    notes: list[str] = []
    with counting(console, "looking for tasks", len(config.data)) as progress:
        for number, path in enumerate(config.data, 1):
            with DemoDataset.open(path) as dataset:
                kwargs = dataset.env_args["env_kwargs"]
                simulated = kwargs["action_mode"] != NATIVE and "scene" not in kwargs
                if simulated:  # found before the first update, for the rollouts
                    make_world(get_robot(kwargs["robot"]))
                (known if simulated else foreign).update(dataset.tasks)
                notes += _notes(path, dataset)
            progress(number, len(config.data))
    if console is not None:
        for note in notes:
            console.print(note)
    wanted = set(config.tasks) or known | foreign
    return sorted(known & wanted), sorted(foreign & wanted)


def _unscored(tasks: Sequence[str], *, all_of_them: bool) -> str:
    """The note that tasks have no simulator, and what chooses the checkpoint then."""
    chooses = "the validation loss chooses the checkpoint" if all_of_them else "no rollouts of them"
    return f"note: no simulator for {', '.join(tasks)}: {chooses}"


def _notes(path: str, dataset: DemoDataset) -> Iterator[str]:
    """Notes on recordings of a file that are not trained on, a line each."""
    if waiting := waiting_note(path):
        yield waiting
    if left := dataset.unassigned:
        yield (
            f"note: {len(left)} of {len(dataset)} demonstrations of {path}, such as {left[0]},"
            " are in neither of its splits train and valid, so nothing learns from them; to"
            f" make the splits anew: vand-robot demos split {path}"
        )
