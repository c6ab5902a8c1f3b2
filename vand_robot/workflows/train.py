"""Training as a run on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from vand_demos.storage.layout import waiting_note
from vand_demos.storage.reader import DemoDataset
from vand_envs import make_world
from vand_envs.robot import get_robot
from vand_robot.config.loading import load_config
from vand_robot.evaluation.evaluate import ValidationScore
from vand_robot.evaluation.reference import references_from_datasets, to_extras
from vand_robot.training.trainer import TrainResult, train


def run_training(
    config_path: Path,
    overrides: Sequence[str],
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> TrainResult:
    """Train as a configuration says, choosing the checkpoint by rollouts on validation seeds.

    Args:
        config_path: YAML file.
        overrides: `key=value` texts.
        out: Folder of the run.
        resume: Go on from its last checkpoint.
        force: Replace a run that is there.
        console: Where to show progress.

    Returns:
        The result of the run.

    Raises:
        UsageError: A mistake in the configuration, or a folder that is taken.
        VandError: Unusable data; see `train`.
    """
    config = load_config(config_path, overrides)
    if console is not None:
        for note in _notes(config.data):
            console.print(note)
    for path in config.data:
        _require_simulable(path)
    references = references_from_datasets(config.data, config.tasks) if config.data else {}
    return train(
        config,
        out,
        resume=resume,
        force=force,
        score=ValidationScore(references, config.rollouts.episodes),
        scored_tasks=references.keys(),
        extras=to_extras(references),
        console=console,
    )


def _require_simulable(path: str) -> None:
    """Check before the first update that the data set's robot can be built, for the rollouts.

    Raises:
        VandError: Its files are not here; the line says what to install.
    """
    with DemoDataset.open(path, guarded=True) as dataset:
        make_world(get_robot(dataset.env_args["env_kwargs"]["robot"]))


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
