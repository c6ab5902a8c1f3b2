"""Sequences as tensors: episodes end to end, and padded batches of them balanced over tasks."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor

from vand_robot.data.images import ImageStore

CPU = torch.device("cpu")
DATA_SHARE = 0.5
"""Share of a GPU's free memory that demonstrations may take; larger sets stay in main memory."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B sequences side by side, the longest first, padded to T steps."""

    observations: Tensor
    """(T, B, D) float32."""
    actions: Tensor
    """(T, B, A) float32."""
    lengths: Tensor
    """(B,) valid steps of each sequence, in 1..T, descending; on the CPU, wherever the rest is."""
    images: Mapping[str, Tensor] = field(default_factory=dict)
    """Image observation -> (S, H, W, 3) uint8, of the S valid steps alone, in the order in which
    `mask` picks them: the first step of every sequence, then the second, ..."""

    @cached_property
    def mask(self) -> Tensor:
        """(T, B) bool, which steps are valid."""
        return _arange(len(self.observations))[:, None] < self.lengths

    @cached_property
    def valid_rows(self) -> Tensor:
        """(N,) indices of the N valid steps among the T B steps, in time first; on the device."""
        return self.mask.flatten().nonzero()[:, 0].to(self.observations.device)

    def valid(self, values: Tensor) -> Tensor:
        """Picks the valid steps, (T, B, F) -> (N, F), without a wait for the device."""
        return values.flatten(0, 1).index_select(0, self.valid_rows)

    def padded(self, values: Tensor) -> Tensor:
        """Puts valid steps in their places, zero elsewhere, (N, F) -> (T, B, F)."""
        steps, batch = self.mask.shape
        blank = values.new_zeros(steps * batch, values.shape[-1])
        return blank.index_copy(0, self.valid_rows, values).view(steps, batch, -1)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, but for the lengths."""
        return Batch(
            _sent(self.observations, device),
            _sent(self.actions, device),
            self.lengths,
            {key: _sent(rgb, device) for key, rgb in self.images.items()},
        )

    @property
    def steps(self) -> int:
        """Number of valid steps in all."""
        return int(self.lengths.sum())

    def with_future_actions(self, ahead: Sequence[int]) -> "Batch":
        """The batch whose actions are followed by those of some steps later, (T, B, (1 + K) A).

        After its end each sequence goes on with its last action.

        Args:
            ahead: How many steps later, K numbers.
        """
        device = self.actions.device
        steps = _arange(len(self.actions))[:, None]  # (T, 1)
        columns = torch.arange(len(self.lengths), device=device)  # (B,)
        places = [(steps + k).minimum(self.lengths - 1).to(device) for k in ahead]  # (T, B) each
        later = [self.actions[place, columns] for place in places]
        return replace(self, actions=torch.cat([self.actions, *later], -1))

    def split_time(self, size: int | None) -> Iterator["Batch"]:
        """Cut along time into pieces of at most `size` steps; None: one piece, the whole.

        A piece holds the sequences that are not over yet: as many as before, or fewer.
        """
        size = size or len(self.observations)
        for start in range(0, len(self.observations), size):
            now = slice(start, start + size), slice(int((self.lengths > start).sum()))
            lengths = (self.lengths[now[1]] - start).clamp(max=size)
            first = int(self.lengths.clamp(max=start).sum())
            rows = slice(first, first + int(lengths.sum()))
            images = {key: rgb[rows] for key, rgb in self.images.items()}
            yield Batch(self.observations[now], self.actions[now], lengths, images)

    def cut_windows(self, size: int) -> "Batch":
        """Cut each sequence into sequences of their own, of at most `size` steps."""
        count = -(-len(self.observations) // size)  # W
        lengths = self.lengths - size * _arange(count)[:, None]  # (W, B)
        lengths, order = lengths.clamp(0, size).flatten().sort(descending=True, stable=True)
        order, lengths = order[lengths > 0], lengths[lengths > 0]

        def cut(x: Tensor) -> Tensor:
            padding = count * size - len(x)
            x = torch.cat([x, x[-1:].expand(padding, -1, -1)])  # (W size, B, .)
            x = x.reshape(count, size, *x.shape[1:]).transpose(0, 1).flatten(1, 2)  # (size, W B, .)
            return x[:, order.to(x.device)]

        cut_windows = Batch(cut(self.observations), cut(self.actions), lengths)
        if not self.images:
            return cut_windows
        rows = torch.zeros_like(self.mask, dtype=torch.long)
        rows[self.mask] = _arange(self.steps)
        rows = cut(rows[..., None])[..., 0][cut_windows.mask].to(self.observations.device)  # (S,)
        return replace(cut_windows, images={key: rgb[rows] for key, rgb in self.images.items()})


@dataclass(frozen=True, eq=False)
class EpisodeBuffer:
    """Episodes end to end, so that a batch is one gather.

    Observations and actions may be on a device; all that says where episodes are is on the CPU,
    which need not wait for the device to know the shape of a batch.
    """

    observations: Tensor
    """(M, D) float32, the steps of all episodes."""
    actions: Tensor
    """(M, A) float32."""
    starts: Tensor
    """(E,) first step of each episode."""
    lengths: Tensor
    """(E,) number of steps of each episode."""
    groups: Mapping[str, Tensor]
    """Task id -> indices of its episodes."""
    images: ImageStore | None = None
    """Camera images, left on the disk; None where the policy sees none."""
    device: torch.device = CPU
    """Where batches are."""

    @classmethod
    def of(
        cls,
        observations: Sequence[NDArray[np.float32]],
        actions: Sequence[NDArray[np.float32]],
        tasks: Sequence[str],
        images: ImageStore | None = None,
    ) -> "EpisodeBuffer":
        """Pack episodes: observations (N, D), actions (N, A), task id and images of each."""
        lengths = torch.tensor([len(a) for a in actions])
        ids = np.array(tasks)
        return cls(
            observations=torch.from_numpy(np.concatenate(observations)),
            actions=torch.from_numpy(np.concatenate(actions)),
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            groups={str(t): torch.from_numpy(np.flatnonzero(ids == t)) for t in np.unique(ids)},
            images=images,
        )

    def __len__(self) -> int:
        """Number of episodes E."""
        return len(self.lengths)

    def to(self, device: torch.device) -> "EpisodeBuffer":
        """The same with batches on a device; the episodes are there too, if there is room."""
        if device.type == "cuda":
            size = self.observations.nbytes + self.actions.nbytes
            if size > DATA_SHARE * torch.cuda.mem_get_info(device)[0]:
                return replace(self, device=device)
        observations, actions = self.observations.to(device), self.actions.to(device)
        return replace(self, observations=observations, actions=actions, device=device)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all observations, actions and images."""
        digest = sha256()
        for tensor in (self.observations, self.actions, self.lengths):
            digest.update(tensor.cpu().numpy().tobytes())
        if self.images is not None:
            digest.update(self.images.fingerprint.encode())
        return digest.hexdigest()

    def batch(self, episodes: Tensor) -> Batch:
        """Gather episodes (B,) into a padded batch, the longest first.

        Padding repeats the last step of its episode: finite numbers that no loss looks at.
        """
        lengths, order = self.lengths[episodes].sort(descending=True, stable=True)  # (B,)
        steps = _arange(int(lengths[0]))[:, None].minimum(lengths - 1)  # (T, B)
        rows = (self.starts[episodes[order]] + steps).to(self.observations.device)  # (T, B)
        images = {} if self.images is None else self.images.read(episodes[order], lengths)
        batch = Batch(self.observations[rows], self.actions[rows], lengths, images)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def sample(self, size: int, rng: Generator) -> Batch:
        """Draw `size` episodes, as many of each task as possible, none twice if it can be."""
        order = rng.permutation(len(self.groups))
        groups = list(self.groups.values())
        drawn = []
        for place, task in enumerate(order):
            count = size // len(order) + (place < size % len(order))
            group = groups[task].numpy()
            drawn.append(rng.choice(group, count, replace=count > len(group)))
        return self.batch(torch.from_numpy(np.concatenate(drawn)))

    def per_task(self, size: int) -> Iterator[tuple[str, Batch]]:
        """Every episode once, in batches of one task, at most `size` in each."""
        for task, group in self.groups.items():
            by_length = group[self.lengths[group].argsort(descending=True, stable=True)]
            yield from ((task, self.batch(part)) for part in torch.split(by_length, size))


class BatchStream:
    """The training batches of a run: each a function of (seed, update) alone.

    Where images must be read from the disk, the next batch is read while the present one is used.

    Args:
        demonstrations: The episodes to draw from.
        size: Episodes in a batch.
        seed: The run's seed.
        updates: The last update that needs a batch.
    """

    def __init__(self, demonstrations: EpisodeBuffer, size: int, seed: int, updates: int) -> None:
        self._demonstrations, self._size = demonstrations, size
        self._seed, self._updates = seed, updates
        self._reader = None if demonstrations.images is None else ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[Batch]] | None = None

    def batch(self, update: int) -> Batch:
        """The batch of an update, counted from 1.

        Raises:
            VandError: Its images cannot be read.
        """
        if self._reader is None:
            return self._make(update)
        if self._ahead is None or self._ahead[0] != update:
            self._ahead = update, self._reader.submit(self._make, update)
        batch = self._ahead[1].result()
        if update < self._updates:
            self._ahead = update + 1, self._reader.submit(self._make, update + 1)
        return batch

    def close(self) -> None:
        """Stop reading ahead."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def _make(self, update: int) -> Batch:
        return self._demonstrations.sample(self._size, default_rng([self._seed, update]))


def _arange(count: int) -> Tensor:
    """0, 1, ... on the CPU."""
    return torch.arange(count, device="cpu")


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; from page-locked memory, which a GPU reads without a wait."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
