"""New data sets out of old ones: split, merge, filter, delete. Arrays stay compressed meanwhile."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vand_demos.episode import Episode
from vand_demos.storage.compatibility import Recordings, require_compatible
from vand_demos.storage.layout import OPTIONAL_ARRAYS, require_new
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.splits import TRAIN, VALID, held_out
from vand_demos.storage.writer import append, create, rewriting, write_splits
from vand_demos.system.files import disk_errors, file_path
from vand_envs.errors import UsageError, VandError, unknown_name


def split(
    path: str | Path, valid_fraction: float = 0.1, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Set the splits `train` and `valid`, in the same proportion for every task.

    Args:
        path: The data set.
        valid_fraction: Share of each task's episodes that are held out, in (0, 1); at least one
            of a task's episodes where it has two, and never all.
        seed: Which ones; the same seed gives the same splits.

    Returns:
        Split -> names of episodes, by number.

    Raises:
        UsageError: The fraction is not in (0, 1), the seed negative, or there is no such file.
        VandError: The file is damaged or being written, or the disk is full.
    """
    if not 0 < valid_fraction < 1:
        raise UsageError(f"valid_fraction: expected a number in (0, 1), got {valid_fraction}")
    if seed < 0:
        raise UsageError(f"seed: expected 0 or more, got {seed}")
    path = file_path(path)
    rng = np.random.default_rng(seed)
    with rewriting(path) as temporary, DemoDataset.open(path, guarded=True) as dataset:
        held = held_out(dataset, dataset.names, valid_fraction, rng)
        splits = {
            TRAIN: tuple(name for name in dataset.names if name not in held),
            VALID: tuple(name for name in dataset.names if name in held),
        }
        with disk_errors("write", path):
            shutil.copyfile(path, temporary)
        write_splits(temporary, splits)
    return splits


def merge(
    out: str | Path, paths: Sequence[str | Path], *, overwrite: bool = False
) -> tuple[str, ...]:
    """Put several data sets into a new one, in their order; splits of one name are joined.

    Returns:
        The names of the episodes in the new data set.

    Raises:
        UsageError: A file is missing, or `out` exists and is not to be replaced.
        VandError: Two differ in robot, actions, control step, instructions or arrays, or hold
            the same recording.
    """
    if not paths:
        raise UsageError("there are no data sets to merge")
    with ExitStack() as stack:
        datasets = [stack.enter_context(DemoDataset.open(path, guarded=True)) for path in paths]
        _require_mergeable(datasets)
        names = [
            [f"demo_{sum(map(len, datasets[:i])) + k}" for k in range(len(dataset))]
            for i, dataset in enumerate(datasets)
        ]
        picks = [
            (dataset, dict(zip(dataset.names, new, strict=True)))
            for dataset, new in zip(datasets, names, strict=True)
        ]
        _rebuild(file_path(out), picks, overwrite=overwrite)
    return tuple(name for group in names for name in group)


def filter_dataset(
    path: str | Path,
    out: str | Path,
    predicate: Callable[[Episode], bool],
    *,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Copy the episodes that a predicate holds for into a new data set, under their names.

    Returns:
        Their names.

    Raises:
        UsageError: The file is missing, or `out` exists and is not to be replaced.
        VandError: No episode is left, or a file is damaged.
    """
    with DemoDataset.open(path, guarded=True) as dataset:
        kept = {episode.name: episode.name for episode in dataset if predicate(episode)}
        _rebuild(file_path(out), [(dataset, kept)], overwrite=overwrite)
    return tuple(kept)


def select(
    path: str | Path, out: str | Path, names: Iterable[str], *, overwrite: bool = False
) -> tuple[str, ...]:
    """Copy the episodes of these names into a new data set; arrays are not read.

    Returns:
        Their names, by number.

    Raises:
        UsageError: There is no such file or episode, or `out` exists and is not to be replaced.
        VandError: No episode is named, or a file is damaged.
    """
    wanted = set(names)
    with DemoDataset.open(path, guarded=True) as dataset:
        _require_known(dataset, wanted)
        kept = {name: name for name in dataset.names if name in wanted}
        _rebuild(file_path(out), [(dataset, kept)], overwrite=overwrite)
    return tuple(kept)


def delete(path: str | Path, names: Iterable[str]) -> tuple[str, ...]:
    """Remove episodes from a data set; the others keep their names.

    Returns:
        The names that are left.

    Raises:
        UsageError: There is no such file or episode.
        VandError: No episode would be left, or the file is damaged.
    """
    path, unwanted = file_path(path), set(names)
    # Locked before it is read: nobody adds episodes in between, to lose them.
    with rewriting(path) as temporary, DemoDataset.open(path, guarded=True) as dataset:
        require_new(path, overwrite=True)
        _require_known(dataset, unwanted)
        kept = {name: name for name in dataset.names if name not in unwanted}
        _build(temporary, path, [(dataset, kept)])
    return tuple(kept)


def _require_known(dataset: DemoDataset, names: Iterable[str]) -> None:
    """Raise UsageError for a name that no episode has."""
    for name in sorted(set(names) - set(dataset.names)):
        raise unknown_name("episode", name, dataset.names)


def _require_mergeable(datasets: Sequence[DemoDataset]) -> None:
    """Raise VandError where data sets cannot be one."""
    first = datasets[0]
    recordings = Recordings()
    for dataset in datasets:
        require_compatible(first.env_args, dataset.env_args, str(dataset.path))
        for name, uid in dataset.uids.items():
            recordings.add(uid, f"{dataset.path}: {name}")
        if first.names and dataset.names:
            ours, theirs = (_fixed(d.arrays(d.names[0])) for d in (first, dataset))
            for path in sorted(ours.keys() | theirs.keys()):
                if ours.get(path) != theirs.get(path):
                    raise VandError(
                        f"{dataset.path} does not fit {first.path}: {path}:"
                        f" expected {ours.get(path, 'none')}, got {theirs.get(path, 'none')}"
                    )


def _fixed(arrays: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The arrays that all episodes must have alike: the others may be left out."""
    optional = (*OPTIONAL_ARRAYS, "rewards", "next_obs/")
    return {path: shape for path, shape in arrays.items() if not path.startswith(optional)}


_Picks = Sequence[tuple[DemoDataset, Mapping[str, str]]]
"""Data sets, and of each the episodes that are wanted: old name -> new name."""


def _rebuild(out: Path, picks: _Picks, *, overwrite: bool) -> None:
    """Write a data set of episodes of others, with their splits."""
    with rewriting(out) as temporary:
        require_new(out, overwrite=overwrite)
        _build(temporary, out, picks)


def _build(temporary: Path, out: Path, picks: _Picks) -> None:
    """Builds at a temporary path what shall be at `out`."""
    if not any(kept for _, kept in picks):
        raise VandError(f"{out}: no episode would be left")
    splits: dict[str, list[str]] = {}
    for dataset, kept in picks:
        for split in dataset.splits:
            listed = splits.setdefault(split, [])
            listed += [kept[name] for name in dataset.split(split) if name in kept]
    create(temporary, picks[0][0].env_args)
    append(temporary, (data.source(*pair) for data, kept in picks for pair in kept.items()))
    if splits:
        write_splits(temporary, splits)
