"""What an importer reads of a data set that others made, and what may be chosen of it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vand_envs.errors import UsageError, VandError, unknown_name

ALL = "all"
"""In place of names of images: every one."""

RATES_HZ = (1.0, 1000.0)
"""Bounds of a control rate [Hz]."""

_ID_LENGTH = 48


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Choices in an import; left at their defaults they choose all vectors of all episodes.

    Raises:
        UsageError: At construction, where a rate is out of range or two keys get one name.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    """Observation of the source -> its name here; empty: all that are no images, as they are."""
    images: Sequence[str] = ()
    """Images to take, by the source's names; `("all",)`: every one; empty: none."""
    tasks: Sequence[str] = ()
    """Tasks to take, by id or instruction; empty: all."""
    instruction: str | None = None
    """Instruction of every episode, in place of the source's."""
    phrasings: Mapping[str, str] = field(default_factory=dict)
    """Instruction of the source -> task id: several phrasings of one task."""
    bounds: Sequence[tuple[float, float]] = ()
    """Least and greatest value of each number of an action, in the source's units, or one pair for
    all; empty: what the source declares, or else its data."""
    rate_hz: float | None = None
    """Control rate to resample to [Hz]; None: the source's."""
    source_rate_hz: float | None = None
    """Control rate of a source that does not tell it [Hz]."""

    def __post_init__(self) -> None:
        for name, rate in (("rate", self.rate_hz), ("source-rate", self.source_rate_hz)):
            if rate is not None and not RATES_HZ[0] <= rate <= RATES_HZ[1]:
                raise UsageError(
                    f"{name}: expected {RATES_HZ[0]:g} to {RATES_HZ[1]:g} Hz, got {rate:g}"
                )
        for low, high in self.bounds:
            if not (math.isfinite(high - low) and low < high):
                raise UsageError(f"bounds: expected LOW below HIGH, got {low:g}:{high:g}")
        taken = list(self.keys.values())
        for name in taken:
            if taken.count(name) > 1:
                raise UsageError(f"keys: two observations get the name {name!r}")

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen at all."""
        return any(value for value in vars(self).values())


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceFacts:
    """Properties of a data set of others as a whole."""

    format_name: str
    """Its format."""
    name: str
    """Its name."""
    version: str
    """Version of its format, or of the environment; empty where it says none."""
    rate_hz: float | None
    """Control rate [Hz]; None where it does not tell."""
    robot: str
    """Name of its robot, or `unknown`."""
    environment: Mapping[str, Any]
    """What it says of its environment, as it says it; empty for nothing."""
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Least and greatest value of each number of an action, (A,) each, where it declares them."""
    vectors: Mapping[str, int]
    """Observation -> numbers in one step, of those that are no images."""
    images: Mapping[str, tuple[int, int]]
    """Image observation -> height and width [pixel]."""
    masks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Split -> names of episodes."""
    notes: Sequence[str] = ()
    """What is left out, or was understood in a way that somebody should know."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceEpisode:
    """One episode as its source has it; None stands for what is not there."""

    actions: NDArray[Any]
    """(N, A) in their own units."""
    observations: Mapping[str, NDArray[Any]]
    """Key -> (N, d), or (N, H, W, 3) uint8."""
    next_observations: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Key -> the same after each action; empty where it is not there."""
    rewards: NDArray[Any] | None = None
    """(N,)."""
    dones: NDArray[Any] | None = None
    """(N,)."""
    states: NDArray[Any] | None = None
    """(N, S)."""
    model_file: str | None = None
    """The world as MJCF."""
    success: bool | None = None
    """Whether the task was done."""
    seed: int | None = None
    """Seed of the initial state."""


class SourceSet(Protocol):
    """A data set of others, open for reading."""

    @property
    def facts(self) -> SourceFacts:
        """Properties of the whole."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Names of the episodes, in their order."""
        ...

    def instruction(self, name: str) -> str | None:
        """The instruction of an episode, or None."""
        ...

    def actions(self, name: str) -> NDArray[Any]:
        """The actions (N, A) of an episode."""
        ...

    def episode(self, name: str, vectors: Sequence[str], images: Sequence[str]) -> SourceEpisode:
        """Read an episode with these observations.

        Raises:
            VandError: It is damaged.
        """
        ...


def task_id(instruction: str) -> str:
    """The id of a task by its instruction: `"Open the drawer."` is `open-the-drawer`."""
    words = re.findall(r"[a-z0-9]+", instruction.lower())
    slug = "-".join(words)
    if not slug or not slug[0].isalpha():
        slug = f"task-{slug}".rstrip("-")
    if not words or len(slug) > _ID_LENGTH:  # told apart by what is cut off
        slug = f"{slug[:_ID_LENGTH]}-{sha256(instruction.encode()).hexdigest()[:6]}"
    return slug


def chosen_keys(facts: SourceFacts, options: ImportOptions) -> tuple[dict[str, str], list[str]]:
    """Vectors to read, source's name -> name here, and images to read.

    Raises:
        UsageError: One that is named is not there.
    """
    for key in options.keys:
        if key not in facts.vectors and key not in facts.images:
            raise unknown_name("observation key", key, (*facts.vectors, *facts.images))
    every = list(options.images) == [ALL]
    for key in () if every else options.images:
        if key not in facts.images:
            raise unknown_name("image observation", key, facts.images)
    images = list(facts.images) if every else list(options.images)
    images += [key for key in options.keys if key in facts.images and key not in images]
    vectors = {key: key for key in facts.vectors}
    if options.keys:
        vectors = {key: name for key, name in options.keys.items() if key in facts.vectors}
    return vectors, images


def action_bounds(
    source: SourceSet, names: Sequence[str], given: Sequence[tuple[float, float]] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """The bounds of the actions, and notes on where they are from.

    They are the given or else the declared ones, made wider where actions leave them; without any
    those of the data. A number that never changes gets a bound 1 below and above it.

    Args:
        source: The data set.
        names: Episodes to look at.
        given: Least and greatest value of each number, or one pair for all.

    Raises:
        UsageError: There are given ones, and not one for each number.
        VandError: An action is not finite, or of another size than those before it.
    """
    first = ""
    low = high = np.zeros(0)
    for name in names:
        actions = np.asarray(source.actions(name), np.float64)
        _require_actions(name, actions)
        if first and actions.shape[1] != len(low):
            raise VandError(
                f"{source.facts.name}: {name}: actions: expected {len(low)} numbers a step as in"
                f" {first}, got {actions.shape[1]}"
            )
        ends = actions.min(0), actions.max(0)
        low, high = ends if not first else (np.minimum(low, ends[0]), np.maximum(high, ends[1]))
        first = first or name
    known = source.facts.bounds
    if given:
        pairs = np.array([*given] * len(low) if len(given) == 1 else [*given], np.float64)
        if len(pairs) != len(low):
            raise UsageError(f"bounds: expected {len(low)}, one for each number, got {len(pairs)}")
        known = pairs[:, 0], pairs[:, 1]
    return _widened(source.facts, known, low, high)


def _widened(
    facts: SourceFacts,
    known: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    if known is not None:
        least, most = known
        if len(least) != len(low):
            raise VandError(
                f"{facts.name}: expected {len(least)} numbers in an action, as its bounds say,"
                f" got {len(low)}"
            )
        count = len(np.flatnonzero((low < least) | (high > most)))
        note = (
            f"actions leave the declared bounds in {count} of {len(low)} numbers: there the bounds"
            " are those of the data"
        )
        notes = [note] if count else []
        return np.minimum(low, least), np.maximum(high, most), notes
    same = low == high
    low, high = np.where(same, low - 1, low), np.where(same, high + 1, high)
    notes = ["the source declares no bounds of actions: they are those of its data"]
    if same.any():
        notes.append(f"{int(same.sum())} numbers of an action never change: 1 below to 1 above")
    return low, high, notes


def _require_actions(name: str, actions: NDArray[np.float64]) -> None:
    if actions.ndim != 2 or 0 in actions.shape:
        raise VandError(f"{name}: actions: expected (steps, numbers), got shape {actions.shape}")
    if not np.isfinite(actions).all():
        step, number = (int(i[0]) for i in np.nonzero(~np.isfinite(actions)))
        raise VandError(
            f"{name}: actions[{step}, {number}] = {actions[step, number]} is not finite"
        )
