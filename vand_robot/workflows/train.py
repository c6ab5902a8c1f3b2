"""Training as a run on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from vand_demos.native import NATIVE
from vand_demos.storage.layout import waiting_note
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.json_record import JsonRecord
from vand_envs import make_world
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import get_robot
from vand_robot.config.loading import load_config
from vand_robot.config.schema import TrainConfig
from vand_robot.data.loading import require_readable_files
from vand_robot.evaluation.evaluate import ValidationScore
from vand_robot.evaluation.reference import (
    TaskReference,
    references_from_datasets,
    to_extras,
)
from vand_robot.layout import POLICY_JSON, POLICY_TENSORS, RunFolder, find_checkpoint
from vand_robot.policies.provenance import DataFile
from vand_robot.progress import counting
from vand_robot.training.processes import TrainingProcesses, all_together, joined_processes
from vand_robot.training.trainer import TrainResult, train

INIT, INIT_SHA256 = "init", "init_sha256"
"""Keys of a checkpoint's `extras`: the run whose weights it began with, and their hash."""


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
        extras={**to_extras(references), **({} if init is None else _noted(init))},
        console=console,
        processes=processes,
    )


def _noted(init: Path) -> dict[str, str]:
    """What a run's checkpoints keep of the weights that it begins with."""
    weights = find_checkpoint(init) / POLICY_TENSORS
    return {INIT: str(init), INIT_SHA256: DataFile.of(weights).sha256}


def first_weights(folder: RunFolder) -> Path | None:
    """The run that a run began with the weights of; None where it began with its own.

    Raises:
        VandError: It is no longer there, or its weights are others; or a checkpoint is damaged.
    """
    if not any((checkpoint / POLICY_JSON).is_file() for checkpoint in (folder.best, folder.last)):
        return None
    extras = JsonRecord.read(find_checkpoint(folder.path) / POLICY_JSON).record("extras")
    if INIT not in extras.values:
        return None
    init = Path(extras.text(INIT))
    try:
        now = DataFile.of(find_checkpoint(init) / POLICY_TENSORS).sha256
    except UsageError as error:
        raise VandError(f"{folder.path} began with the weights of {init}: {error}") from None
    # earlier versions kept no hash; the comparison shows then what differs
    if INIT_SHA256 in extras.values and now != (before := extras.text(INIT_SHA256)):
        raise VandError(
            f"{folder.path} began with the weights of {init}: expected SHA-256 {before[:16]}...,"
            f" got {now[:16]}...; the run there has changed"
        )
    return init


def _references(config: TrainConfig, console: Console | None) -> dict[str, TaskReference]:
    """What the policy's rollouts are judged by; notes on what is not trained on, or not judged."""
    require_readable_files(config.data, console)
    known, foreign = _tasks(config, console)
    tasks = known if foreign else config.tasks
    references: dict[str, TaskReference] = {}
    if known:
        with counting(console, "measuring demonstrations", len(config.data)) as progress:
            references = references_from_datasets(config.data, tasks, progress)
    if console is not None and foreign:
        console.print(_unscored(foreign, all_of_them=not references), soft_wrap=True)
    return references


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
