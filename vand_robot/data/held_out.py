"""Training demonstrations in parts, one of which the weights leave out at a time."""

from dataclasses import dataclass, replace

import torch
from numpy.random import default_rng
from torch import Tensor

from vand_envs.errors import VandError
from vand_robot.data.batches import Batch, EpisodeBuffer

PARTS_STREAM = 0x4E1D
"""Keeps the random numbers of the parts apart from all others."""

BATCH_STREAM = 0x4E1E
"""Likewise those of the batches of what is left out."""


@dataclass(frozen=True, eq=False)
class HeldOutParts:
    """Training demonstrations in parts, as many of each task in each as possible."""

    whole: EpisodeBuffer
    """All of them."""
    parts: dict[str, tuple[Tensor, ...]]
    """Task id -> indices of the episodes of each part."""
    rotate_every: int | None
    """Updates after which it is the next part's turn; None: never."""
    seed: int
    """The run's seed."""

    @classmethod
    def of(
        cls, whole: EpisodeBuffer, share: float, rotate_every: int | None, seed: int
    ) -> "HeldOutParts":
        """Divide demonstrations, at random.

        Args:
            whole: All of them.
            share: Share of a part, above 0 and at most a half; of each task at least one episode.
            rotate_every: Updates after which it is the next part's turn; None: never.
            seed: The run's seed.

        Raises:
            VandError: A task has one demonstration only.
        """
        rng = default_rng([seed, PARTS_STREAM])
        parts = {}
        for task, group in whole.groups.items():
            if len(group) < 2:
                raise VandError(
                    f"held_out: expected 2 demonstrations of task {task!r} to train on, one to"
                    f" learn from and one to leave out, got {len(group)}"
                )
            shuffled = group[torch.from_numpy(rng.permutation(len(group)))]
            parts[task] = shuffled.tensor_split(min(len(group), max(2, round(1 / share))))
        return cls(whole, parts, rotate_every, seed)

    def left_out(self, update: int) -> EpisodeBuffer:
        """What the weights leave out at an update, counted from 1."""
        return self._of(
            {task: parts[self._turn(update, parts)] for task, parts in self.parts.items()}
        )

    def learned(self, update: int) -> EpisodeBuffer:
        """What they learn from."""
        return self._of(
            {
                task: torch.cat([p for k, p in enumerate(parts) if k != self._turn(update, parts)])
                for task, parts in self.parts.items()
            }
        )

    def batch(self, update: int, size: int) -> Batch:
        """What is left out at an update, all of it; or `size` episodes of it, if it has more."""
        buffer = self.left_out(update)
        everything = torch.cat(list(buffer.groups.values()))
        if len(everything) <= size:
            return buffer.batch(everything)
        return buffer.sample(size, default_rng([self.seed, update, BATCH_STREAM]))

    def _turn(self, update: int, parts: tuple[Tensor, ...]) -> int:
        """Which part is left out."""
        rotations = 0 if self.rotate_every is None else (update - 1) // self.rotate_every
        return rotations % len(parts)

    def _of(self, groups: dict[str, Tensor]) -> EpisodeBuffer:
        return replace(self.whole, groups=groups)
