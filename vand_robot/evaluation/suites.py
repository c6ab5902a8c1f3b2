"""Named sets of perturbations."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from vand_envs.errors import unknown_name
from vand_robot.evaluation.perturbations import CONDITIONS, NOMINAL, Condition


@dataclass(frozen=True)
class Suite:
    """A named evaluation."""

    name: str
    """What it is called on the command line."""
    conditions: tuple[Condition, ...]
    """What interferes."""
    episodes: int
    """Episodes of each task under each condition."""


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("nominal", (NOMINAL,), 50),
        Suite("standard", tuple(CONDITIONS.values()), 50),
        Suite("quick", tuple(CONDITIONS.values()), 10),
    )
}
"""Name -> suite."""


def find_suite(name: str, conditions: Sequence[str] = (), episodes: int | None = None) -> Suite:
    """The suite of that name, with other conditions or another number of episodes if given.

    Raises:
        UsageError: An unknown suite or condition.
    """
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    for condition in conditions:
        if condition not in CONDITIONS:
            raise unknown_name("condition", condition, CONDITIONS)
    suite = SUITES[name]
    if conditions:
        suite = dataclasses.replace(suite, conditions=tuple(CONDITIONS[c] for c in conditions))
    return suite if episodes is None else dataclasses.replace(suite, episodes=episodes)
