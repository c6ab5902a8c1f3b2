"""The numbers of demonstrations, where batches come from: in memory, or streamed from their files.

Both give the same batches, to the bit.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vand_envs.errors import VandError
from vand_robot.data.files import DataFiles

DATA_SHARE = 0.5
"""Share of a GPU's free memory that demonstrations may take; larger sets stay in main memory."""

Episode = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Observations (N, D) and actions (N, A) of one episode."""


class Numbers(Protocol):
    """Observations and actions of E episodes."""

    @property
    def streamed(self) -> bool:
        """Whether they are read from files when a batch needs them."""
        ...

    def gather(self, episodes: Tensor, lengths: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Observations (T, B, D) and actions (T, B, A) of episodes, padded by their last step.

        Args:
            episodes: (B,) indices.
            lengths: (B,) their lengths.
            steps: T, no less than the longest.
        """
        ...

    def to(self, device: torch.device) -> "Numbers":
        """The same on a device, if there is room; a batch goes there in any case."""
        ...

    def observations(self) -> Iterator[NDArray[np.float32]]:
        """Observations (N, D) of all episodes, in pieces, in order."""
        ...

    def actions(self) -> Iterator[NDArray[np.float32]]:
        """Actions (N, A) of all episodes, in pieces, in order."""
        ...


@dataclass(frozen=True, eq=False)
class NumbersInMemory:
    """Episodes end to end, so that a batch is one gather."""

    all_observations: Tensor
    """(M, D) float32, the steps of all episodes; maybe on a device."""
    all_actions: Tensor
    """(M, A) float32."""
    starts: Tensor
    """(E,) first step of each episode; on the CPU."""

    streamed = False

    def gather(self, episodes: Tensor, lengths: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """See `Numbers.gather`."""
        places = torch.arange(steps, device="cpu")[:, None].minimum(lengths - 1)  # (T, B)
        rows = (self.starts[episodes] + places).to(self.all_observations.device)
        return self.all_observations[rows], self.all_actions[rows]

    def to(self, device: torch.device) -> "NumbersInMemory":
        """See `Numbers.to`."""
        size = self.all_observations.nbytes + self.all_actions.nbytes
        if device.type == "cuda" and size > DATA_SHARE * torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(
            self,
            all_observations=self.all_observations.to(device),
            all_actions=self.all_actions.to(device),
        )

    def observations(self) -> Iterator[NDArray[np.float32]]:
        """See `Numbers.observations`."""
        yield self.all_observations.cpu().numpy()

    def actions(self) -> Iterator[NDArray[np.float32]]:
        """See `Numbers.actions`."""
        yield self.all_actions.cpu().numpy()


@dataclass(frozen=True, eq=False)
class EpisodeReader:
    """Reads what a policy sees and does in episodes."""

    files: DataFiles
    """The files that they are in."""
    places: Sequence[tuple[str, str]]
    """File and name of each episode, E."""
    keys: Sequence[str]
    """Observations, in the order in which they lie side by side."""
    sizes: Sequence[int]
    """Numbers of each."""
    lengths: Sequence[int]
    """Steps of each episode."""

    def read(self, episode: int) -> Episode:
        """Read one episode.

        Raises:
            VandError: It cannot be read, breaks a rule, or is of another size than declared.
        """
        path, name = self.places[episode]
        paths = [f"obs/{key}" for key in self.keys]
        with self.files.use(path) as dataset:
            actions, *observations = dataset.columns(name, ["actions", *paths])
        sizes = [array.shape[1] for array in observations]
        if sizes != list(self.sizes):
            ours, theirs = (dict(zip(self.keys, s, strict=True)) for s in (self.sizes, sizes))
            raise VandError(f"observations of unlike sizes in one run: {ours} and {theirs}")
        if len(actions) != self.lengths[episode]:
            expected = f"expected {self.lengths[episode]} steps, got {len(actions)}"
            raise VandError(f"{path}: {name}: actions: {expected}")
        return np.concatenate(observations, axis=1), actions

    def read_actions(self, episode: int) -> NDArray[np.float32]:
        """Read the actions (N, A) of one episode alone; raises as `read`."""
        path, name = self.places[episode]
        with self.files.use(path) as dataset:
            return dataset.columns(name, ["actions"])[0]


@dataclass(frozen=True, eq=False)
class EpisodeCache:
    """The episodes that were used last, up to a number of bytes; safe for several threads."""

    read: Callable[[int], Episode]
    """Reads an episode that is not in it."""
    room_bytes: int
    """The most that it holds; the one that is asked for is handed out all the same."""
    _held: OrderedDict[int, Episode] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, episode: int) -> Episode:
        """An episode, from memory or from its file."""
        with self._lock:
            if episode in self._held:
                self._held.move_to_end(episode)
                return self._held[episode]
        numbers = self.read(episode)
        with self._lock:
            self._held[episode] = numbers
            size = sum(o.nbytes + a.nbytes for o, a in self._held.values())
            while size > self.room_bytes and self._held:
                _, (o, a) = self._held.popitem(last=False)
                size -= o.nbytes + a.nbytes
        return numbers


@dataclass(frozen=True, eq=False)
class StreamedNumbers:
    """Episodes that stay in their files."""

    reader: EpisodeReader
    """Reads them."""
    cache: EpisodeCache
    """Keeps what was used last."""

    streamed = True

    def gather(
        self,
        episodes: Tensor,
        lengths: Tensor,  # noqa: ARG002  (as the reader knows them)
        steps: int,
    ) -> tuple[Tensor, Tensor]:
        """See `Numbers.gather`."""
        read = [self.cache.get(episode) for episode in episodes.tolist()]
        columns: list[Tensor] = []
        for which in (0, 1):
            batch = np.empty((steps, len(read), read[0][which].shape[1]), np.float32)
            for column, values in enumerate(episode[which] for episode in read):
                batch[: len(values), column] = values
                batch[len(values) :, column] = values[-1]
            columns.append(torch.from_numpy(batch))
        return columns[0], columns[1]

    def to(self, device: torch.device) -> "StreamedNumbers":  # noqa: ARG002  (they stay)
        """See `Numbers.to`."""
        return self

    def observations(self) -> Iterator[NDArray[np.float32]]:
        """See `Numbers.observations`."""
        return (self.reader.read(episode)[0] for episode in range(len(self.reader.places)))

    def actions(self) -> Iterator[NDArray[np.float32]]:
        """See `Numbers.actions`."""
        return (self.reader.read_actions(episode) for episode in range(len(self.reader.places)))
