"""Sequences as tensors: episodes end to end, and padded batches of them balanced over tasks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor

from vand_robot.data.images import ImageStore
from vand_robot.data.moments import Moments
from vand_robot.data.numbers import (
    Episode,
    EpisodeCache,
    EpisodeReader,
    Numbers,
    NumbersInMemory,
    StreamedNumbers,
)
from vand_robot.nn.shards import Shard

CPU = torch.device("cpu")


class Processes(Protocol):
    """Processes that work on one batch together."""

    @property
    def index(self) -> int:
        """This process, from 0."""
        ...

    @property
    def count(self) -> int:
        """How many they are."""
        ...

    def total(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over them; each must call it as often as the others."""
        ...


@dataclass(frozen=True, eq=False)
class Part:
    """Place of a batch in a larger one that several processes work on.

    Process r of K has the sequences r, r + K, r + 2K, ... of the whole batch.
    """

    index: int
    """This process, r."""
    count: int
    """Number of processes, K."""
    total: Callable[[Tensor], Tensor]
    """Sums a tensor over the processes."""
    lengths: Tensor
    """(B',) valid steps of each sequence of the whole batch, descending; on the CPU."""

    @property
    def steps(self) -> int:
        """Number of valid steps of the whole batch."""
        return int(self.lengths.sum())

    @property
    def columns(self) -> slice:
        """The sequences of this process among those of the whole batch."""
        return slice(self.index, None, self.count)


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
    part: Part | None = None
    """Its place in a larger one; None where it is the whole."""

    @property
    def whole_steps(self) -> int:
        """Number of valid steps of the whole batch that it is a part of."""
        return self.steps if self.part is None else self.part.steps

    @property
    def shard(self) -> Shard | None:
        """What layers must know to draw noise as a part of the whole batch; None: it is whole."""
        part = self.part
        if part is None:
            return None
        total, whole = len(part.lengths), part.steps
        return Shard(part.index, part.count, total, self.steps, whole, part.total)

    @cached_property
    def rows_of_whole(self) -> Tensor:
        """(N,) places of the valid steps among those of the whole batch; on the CPU."""
        if self.part is None:
            return _arange(self.steps)
        running = _arange(len(self.observations))[:, None] < self.part.lengths  # (T, B')
        places = running.flatten().cumsum(0).view(running.shape) - 1
        return places[:, self.part.columns][self.mask]

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
            self.part,
        )

    @property
    def steps(self) -> int:
        """Number of valid steps in all."""
        return int(self.lengths.sum())

    def with_future_actions(self, ahead: Sequence[int], told: slice | None = None) -> "Batch":
        """The batch whose actions are followed by those of some steps later, (T, B, (1 + K) A).

        After its end each sequence goes on with its last action; so does it where the instruction
        is about to change, which nobody can foresee.

        Args:
            ahead: How many steps later, K numbers.
            told: Numbers of the observations that are the instruction's code; None: it is not seen.
        """
        device = self.actions.device
        steps = torch.arange(len(self.actions), device=device)[:, None]  # (T, 1)
        columns = torch.arange(len(self.lengths), device=device)  # (B,)
        last = (self.lengths - 1).to(device).expand(len(steps), -1)  # (T, B)
        if told is not None and len(steps) > 1:
            tasks = self.observations[..., told].argmax(-1)
            changes = tasks[1:] != tasks[:-1]  # (T - 1, B), after each step
            before = torch.where(changes, steps[:-1], last[:-1]).minimum(last[:-1])
            last = torch.cat([before, last[-1:]]).flip(0).cummin(0).values.flip(0)
        places = [(steps + k).minimum(last) for k in ahead]  # (T, B) each
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
            yield Batch(
                self.observations[now], self.actions[now], lengths, images, self._part(start, size)
            )

    def _part(self, start: int, size: int) -> Part | None:
        """The place of a piece, of `size` steps from `start` on, in that of the whole batch."""
        if self.part is None:
            return None
        lengths = self.part.lengths[self.part.lengths > start] - start
        return replace(self.part, lengths=lengths.clamp(max=size))

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
    """Episodes from which batches are drawn.

    Their numbers may be on a device or on the disk; all that says where episodes are is on the CPU,
    which need not wait for the device to know the shape of a batch.
    """

    numbers: Numbers
    """Observations and actions."""
    moments: Moments
    """Mean and spread of the observations."""
    lengths: Tensor
    """(E,) number of steps of each episode."""
    groups: Mapping[str, Tensor]
    """Task id -> indices of its episodes."""
    images: ImageStore | None = None
    """Camera images, left on the disk; None where the policy sees none."""
    device: torch.device = CPU
    """Where batches are."""
    observations_read: Any = None
    """sha256 of all observations, where they have been read once; else None."""

    @classmethod
    def of(
        cls,
        observations: Sequence[NDArray[np.float32]],
        actions: Sequence[NDArray[np.float32]],
        tasks: Sequence[str],
        images: ImageStore | None = None,
    ) -> "EpisodeBuffer":
        """Pack episodes: observations (N, D), actions (N, A), task id and images of each."""
        episodes = zip(observations, actions, strict=True)
        return cls.packed(episodes, [len(a) for a in actions], tasks, images)

    @classmethod
    def packed(
        cls,
        episodes: Iterable[Episode],
        lengths: Sequence[int],
        tasks: Sequence[str],
        images: ImageStore | None = None,
    ) -> "EpisodeBuffer":
        """Pack episodes as they come: one at a time is held beside what is packed.

        Args:
            episodes: Observations (N, D) and actions (N, A) of each.
            lengths: Steps of each.
            tasks: Task id of each.
            images: Their images.
        """
        ends = np.cumsum(lengths)
        packed: list[NDArray[np.float32]] = []
        moments: list[Moments] = []
        for episode, (end, length) in zip(episodes, zip(ends, lengths, strict=True), strict=True):
            packed = packed or [np.empty((int(ends[-1]), a.shape[1]), np.float32) for a in episode]
            for whole, array in zip(packed, episode, strict=True):
                whole[end - length : end] = array
            moments = [_joined(moments, Moments.of(episode[0]))]
        seen, done = map(torch.from_numpy, packed)
        starts = torch.from_numpy(ends - np.array(lengths))
        numbers = NumbersInMemory(seen, done, starts)
        return cls(numbers, moments[0], torch.tensor(lengths), _groups(tasks), images)

    @classmethod
    def streamed(
        cls, reader: EpisodeReader, room_bytes: int, tasks: Sequence[str], images: ImageStore | None
    ) -> "EpisodeBuffer":
        """Leave episodes in their files; each is read once here, and so checked.

        Args:
            reader: Reads them.
            room_bytes: The most that may be kept of them in memory [bytes].
            tasks: Task id of each.
            images: Their images.
        """
        numbers = StreamedNumbers(reader, EpisodeCache(reader.read, room_bytes))
        moments: list[Moments] = []
        digest = sha256()
        for observations in numbers.observations():
            moments = [_joined(moments, Moments.of(observations))]
            digest.update(observations.data)
        lengths = torch.tensor(list(reader.lengths))
        groups = _groups(tasks)
        return cls(numbers, moments[0], lengths, groups, images, observations_read=digest)

    def __len__(self) -> int:
        """Number of episodes E."""
        return len(self.lengths)

    def to(self, device: torch.device) -> "EpisodeBuffer":
        """The same with batches on a device; the episodes are there too, if there is room."""
        return replace(self, numbers=self.numbers.to(device), device=device)

    @property
    def on_disk(self) -> bool:
        """Whether a batch needs something to be read."""
        return self.images is not None or self.numbers.streamed

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all observations, actions and images."""
        if self.observations_read is None:
            digest = sha256()
            for piece in self.numbers.observations():
                digest.update(piece.data)
        else:
            digest = self.observations_read.copy()
        for piece in self.numbers.actions():
            digest.update(piece.data)
        digest.update(self.lengths.numpy().tobytes())
        if self.images is not None:
            digest.update(self.images.fingerprint.encode())
        return digest.hexdigest()

    def batch(self, episodes: Tensor, processes: Processes | None = None) -> Batch:
        """Gather episodes (B,) into a padded batch, the longest first.

        Padding repeats the last step of its episode: finite numbers that no loss looks at.

        Args:
            episodes: (B,) indices.
            processes: Those that work on the batch together: only the part of this one is made.
        """
        lengths, order = self.lengths[episodes].sort(descending=True, stable=True)  # (B,)
        steps, part = int(lengths[0]), None
        if processes is not None:
            part = Part(processes.index, processes.count, processes.total, lengths)
            lengths, order = lengths[part.columns], order[part.columns]
        images = {} if self.images is None else self.images.read(episodes[order], lengths)
        numbers = self.numbers.gather(episodes[order], lengths, steps)
        batch = Batch(*numbers, lengths, images, part)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def sample(self, size: int, rng: Generator, processes: Processes | None = None) -> Batch:
        """Draw `size` episodes, as many of each task as possible, none twice if it can be.

        Of several processes, each draws the same and makes its part of the batch.
        """
        order = rng.permutation(len(self.groups))
        groups = list(self.groups.values())
        drawn = []
        for place, task in enumerate(order):
            count = size // len(order) + (place < size % len(order))
            group = groups[task].numpy()
            drawn.append(rng.choice(group, count, replace=count > len(group)))
        return self.batch(torch.from_numpy(np.concatenate(drawn)), processes)

    def per_task(self, size: int) -> Iterator[tuple[str, Batch]]:
        """Every episode once, in batches of one task, at most `size` in each."""
        for task, group in self.groups.items():
            by_length = group[self.lengths[group].argsort(descending=True, stable=True)]
            yield from ((task, self.batch(part)) for part in torch.split(by_length, size))


class BatchStream:
    """The training batches of a run: each a function of (seed, update) alone.

    Where something must be read from the disk, the next batch is read while the present one is
    used.

    Args:
        demonstrations: The episodes to draw from, or those of an update.
        size: Episodes in a batch.
        seed: The run's seed.
        updates: The last update that needs a batch.
        processes: Those that work on each batch together; None: this one alone.
    """

    def __init__(
        self,
        demonstrations: EpisodeBuffer | Callable[[int], EpisodeBuffer],
        size: int,
        seed: int,
        updates: int,
        processes: Processes | None = None,
    ) -> None:
        at = demonstrations if callable(demonstrations) else lambda _: demonstrations
        self._demonstrations_at, self._size, self._processes = at, size, processes
        self._seed, self._updates = seed, updates
        self._reader = ThreadPoolExecutor(1) if at(1).on_disk else None
        self._ahead: tuple[int, Future[Batch]] | None = None

    def batch(self, update: int) -> Batch:
        """The batch of an update, counted from 1.

        Raises:
            VandError: Something in it cannot be read.
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
        rng = default_rng([self._seed, update])
        return self._demonstrations_at(update).sample(self._size, rng, self._processes)


def _joined(before: Sequence[Moments], now: Moments) -> Moments:
    return before[0].joined(now) if before else now


def _groups(tasks: Sequence[str]) -> dict[str, Tensor]:
    """Task id -> indices of its episodes."""
    ids = np.array(tasks)
    return {str(t): torch.from_numpy(np.flatnonzero(ids == t)) for t in np.unique(ids)}


def _arange(count: int) -> Tensor:
    """0, 1, ... on the CPU."""
    return torch.arange(count, device="cpu")


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; from page-locked memory, which a GPU reads without a wait."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
