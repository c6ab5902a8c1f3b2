"""Named sets of perturbations."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from vand_envs.errors import UsageError, unknown_name
from vand_robot.evaluation.perturbations import NOMINAL, PERTURBATIONS, Perturbation


@dataclass(frozen=True)
class Suite:
    """A named evaluation."""

    name: str
    """Name on the command line."""
    perturbations: tuple[Perturbation, ...]
    """Perturbations under which each task is evaluated."""
    episodes: int
    """Episodes of each task under each perturbation."""


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("nominal", (NOMINAL,), 50),
        Suite("robustness", tuple(PERTURBATIONS.values()), 50),
        Suite("quick", tuple(PERTURBATIONS.values()), 10),
    )
}
"""Name -> suite."""


def find_suite(name: str, perturbations: Sequence[str] = (), episodes: int | None = None) -> Suite:
    """The suite of that name, with other perturbations or another number of episodes if given.

    Raises:
        UsageError: An unknown suite or perturbation, or no such number of episodes.
    """
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    for perturbation in perturbations:
        if perturbation not in PERTURBATIONS:
            raise unknown_name("perturbation", perturbation, PERTURBATIONS)
    if episodes is not None and episodes < 1:
        raise UsageError(f"episodes: expected at least 1, got {episodes}")
    suite = SUITES[name]
    if perturbations:
        suite = dataclasses.replace(
            suite, perturbations=tuple(PERTURBATIONS[c] for c in perturbations)
        )
    return suite if episodes is None else dataclasses.replace(suite, episodes=episodes)
