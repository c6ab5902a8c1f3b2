"""What other formats have no place for, and the folder that an export appears in."""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.files import disk_errors, sync
from vand_envs.errors import UsageError, VandError

VERSION = 1
"""Changes whenever what is kept beside another format is kept in another way."""

_ARRAYS: tuple[str, ...] = ("observations", "next_observations", "actions", "action_parts")
_ARRAYS += ("rewards", "dones", "states")

Rows = NDArray[Any]


@dataclass(frozen=True)
class Extras:
    """What belongs to a data set as a whole."""

    version: int
    """`VERSION` of the software that wrote it."""
    env_args: Mapping[str, Any]
    """The environment: see `DemoDataset.env_args`."""
    masks: Mapping[str, Sequence[str]]
    """Filter key -> names of episodes."""
    observations: Mapping[str, Sequence[int]]
    """Key -> shape of one step, in the order in which the other format holds them."""
    images: Sequence[str]
    """Those of the keys that are images."""
    action_parts: Mapping[str, int]
    """Part -> size."""
    states: int
    """Size of a state; 0 where none is stored."""

    @classmethod
    def of(cls, dataset: DemoDataset) -> "Extras":
        """Those of a data set that has episodes."""
        first = dataset.episode(dataset.names[0], states=False, next_observations=False)
        states = {dataset.arrays(name).get("states", (0,)) for name in dataset.names}
        return cls(
            version=VERSION,
            env_args=dataset.env_args,
            masks={key: dataset.mask(key) for key in dataset.filter_keys},
            observations={key: rows.shape[1:] for key, rows in sorted(first.observations.items())},
            images=sorted(k for k, rows in first.observations.items() if rows.dtype == np.uint8),
            action_parts={part: rows.shape[1] for part, rows in first.action_parts.items()},
            states=max(size for (size,) in states),
        )

    @property
    def vectors(self) -> dict[str, tuple[int, ...]]:
        """Key -> shape of one step, of the observations that are no images."""
        return {k: tuple(shape) for k, shape in self.observations.items() if k not in self.images}

    @property
    def vector_size(self) -> int:
        """How many numbers a step of all vectors side by side has."""
        return sum(math.prod(shape) for shape in self.vectors.values())

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str, place: Path) -> "Extras":
        """From text.

        Raises:
            VandError: It is something else, or of a newer version.
        """
        with disk_errors("read", place):
            extras = cls(**json.loads(text))
        if extras.version != VERSION:
            raise VandError(f"{place}: version: expected {VERSION}, got {extras.version!r:.60}")
        return extras


def describe_episode(episode: Episode) -> str:
    """All of an episode but its arrays, as JSON; and of which keys it knows what was seen last."""
    names = (item.name for item in fields(Episode) if item.name not in _ARRAYS)
    plain = {name: getattr(episode, name) for name in names}
    seen_last = sorted(episode.next_observations)
    return json.dumps({**plain, "versions": dict(episode.versions), _SEEN_LAST: seen_last})


def build_episode(
    description: str, observations: Mapping[str, Rows], last: Mapping[str, Rows], **arrays: Any
) -> Episode:
    """An episode from `describe_episode` and its arrays.

    Args:
        description: As `describe_episode` made it.
        observations: Key -> (N, ...).
        last: Key -> (1, ...): what was seen after the last action. Keys of which the episode never
            knew that are passed over.
        arrays: The other arrays, as an `Episode` takes them.

    Raises:
        EpisodeError: It breaks a rule.
    """
    plain = json.loads(description)
    after = {
        key: np.concatenate([observations[key][1:], last[key]]) for key in plain.pop(_SEEN_LAST)
    }
    return Episode(**plain, **arrays, observations=observations, next_observations=after)


_SEEN_LAST = "seen_last"


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Makes a folder that appears whole or not at all.

    Yields:
        A folder beside it to write to. When the block ends well, it is renamed to `out`; when it
        raises, it is removed.

    Raises:
        UsageError: There is such a file or folder already, or no folder to put it into.
    """
    if out.exists():
        raise UsageError(f"{out} exists already; choose another folder, or remove it")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent} to write {out.name} to")
    with disk_errors("write", out):
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with disk_errors("write", out):
            yield temporary
            for path in temporary.rglob("*"):
                sync(path)
            temporary.chmod(0o755)  # a temporary folder is for its owner alone
            temporary.rename(out)
            sync(out.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
