"""Which episodes validate and which train, where nobody has said so."""

from collections.abc import Iterable

from numpy.random import Generator

from vand_demos.storage.reader import DemoDataset

TRAIN, VALID = "train", "valid"
"""Names of the two splits that training knows."""


def held_out(
    dataset: DemoDataset, names: Iterable[str], valid_fraction: float, rng: Generator
) -> frozenset[str]:
    """Draw the episodes that validate, in the same proportion for every task and change of it.

    Args:
        dataset: The data set.
        names: The episodes to draw from, by number.
        valid_fraction: Share of each task's episodes to hold out, in [0, 1). Above 0, at least one
            of a task's episodes is held out where it has two, and never all.
        rng: One permutation is drawn from it for each task, in the order of the tasks' ids.

    Returns:
        Names of the episodes that are held out.
    """
    groups: dict[tuple[str, ...], list[str]] = {}  # what is told in each
    for name in names:
        groups.setdefault(dataset.told(name), []).append(name)
    held: set[str] = set()
    for _, group in sorted(groups.items()):
        order = rng.permutation(len(group))
        count = min(max(1, round(valid_fraction * len(group))), len(group) - 1)
        held.update(group[i] for i in order[: count if valid_fraction else 0])
    return frozenset(held)
