"""Choose episodes of a data set by task, device, success, duration or split."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vand_demos.episode import DEVICES, is_own_device
from vand_demos.storage.reader import DemoDataset
from vand_envs.errors import UsageError, unknown_name


@dataclass(frozen=True)
class EpisodeFilter:
    """A filter for episodes; fields left at their default do not filter.

    Raises:
        UsageError: At construction, where no episode could ever fit.
    """

    tasks: tuple[str, ...] = ()
    """Of one of these tasks; empty: of any."""
    devices: tuple[str, ...] = ()
    """Driven by one of these devices; empty: by any."""
    success: bool | None = None
    """Whether the task was done by the end."""
    min_s: float = 0.0
    """Shortest duration [s]."""
    max_s: float = math.inf
    """Longest duration [s]."""
    split: str | None = None
    """In this split of its data set, such as `"train"`."""

    def __post_init__(self) -> None:
        for device in self.devices:
            if device not in DEVICES and not is_own_device(device):
                raise unknown_name("device", device, DEVICES)
        if not 0 <= self.min_s <= self.max_s:
            raise UsageError(
                f"duration: expected 0 <= shortest <= longest,"
                f" got {self.min_s:g} s to {self.max_s:g} s"
            )

    def select(self, dataset: DemoDataset) -> tuple[str, ...]:
        """Names of the episodes that fit, by number; their arrays are not read.

        Raises:
            UsageError: The data set has no such task or split.
        """
        for task in self.tasks:
            if task not in dataset.tasks:
                raise unknown_name("task", task, dataset.tasks)
        names = dataset.names if self.split is None else dataset.split(self.split)
        return tuple(name for name in names if self._fits(partial(dataset.attribute, name)))

    def _fits(self, attribute: Callable[[str], Any]) -> bool:
        duration_s = attribute("num_samples") * attribute("control_dt_s")
        return (
            (not self.tasks or attribute("task") in self.tasks)
            and (not self.devices or attribute("device") in self.devices)
            and self.success in (None, attribute("success"))
            and self.min_s - _SLACK_S <= duration_s <= self.max_s + _SLACK_S
        )


_SLACK_S = 1e-6
"""Durations are multiples of the control step, up to rounding [s]."""
