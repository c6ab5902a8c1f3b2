"""Minari sets that others made, through Minari's own library."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from vand_demos.interop.source import SourceEpisode, SourceFacts
from vand_demos.system.files import library_errors
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import VandError

OBSERVATION = "observation"
"""Key of what an environment sees where it has no names for it."""

_LIBRARIES = ("minari", "h5py", "PIL", "numpy")
_SUCCESS = ("success", "is_success")


class MinariSource:
    """A Minari set of others; see `SourceSet`.

    Args:
        folder: Its folder.
        storage: The same, open, as Minari's `MinariStorage`.
        metadata: Its metadata.

    Raises:
        VandError: Its spaces have no place here.
    """

    def __init__(self, folder: Path, storage: Any, metadata: JsonRecord) -> None:
        self._folder, self._storage = folder, storage
        self.names = tuple(f"episode_{i}" for i in range(int(storage.total_episodes)))
        vectors, images, left = _kinds(storage.observation_space)
        env = _environment(folder, metadata)
        known = metadata.values.get("dataset_id")
        self.facts = SourceFacts(
            format_name="minari",
            name=known if isinstance(known, str) else folder.resolve().name,
            version=str(metadata.values.get("minari_version", "")),
            rate_hz=None,
            robot="unknown",
            environment=env,
            bounds=_bounds(folder, storage.action_space),
            vectors=vectors,
            images=images,
            notes=[f"left out, neither vectors nor RGB: {', '.join(left)}"] if left else [],
        )

    def instruction(self, _: str) -> str | None:
        """None: Minari has no place for one."""
        return None

    def actions(self, name: str) -> NDArray[Any]:
        """The actions (N, A) of an episode."""
        return self._numbers(name, "actions", _rows(self._content(name)["actions"]))

    def episode(self, name: str, vectors: Sequence[str], images: Sequence[str]) -> SourceEpisode:
        """Read an episode with these observations.

        Raises:
            VandError: It is damaged.
        """
        content = self._content(name)
        actions = self._numbers(name, "actions", _rows(content["actions"]))
        seen = flat(content["observations"])
        keys = [*vectors, *images]
        for key in keys:
            if key not in seen or len(seen[key]) != len(actions) + 1:
                raise VandError(
                    f"{self._folder}: {name}: {key}: expected {len(actions) + 1} observations, one"
                    f" more than actions, got {len(seen.get(key, ()))}"
                )
        per_step = {
            key: self._numbers(name, key, content[key], len(actions))
            for key in ("rewards", "terminations", "truncations")
        }
        return SourceEpisode(
            actions=actions,
            observations={key: self._numbers(name, key, seen[key])[:-1] for key in keys},
            next_observations={key: seen[key][1:] for key in vectors},
            rewards=per_step["rewards"],
            dones=(per_step["terminations"] != 0) | (per_step["truncations"] != 0),
            success=_success(content["infos"] or {}),
            seed=self._seed(name),
        )

    def _content(self, name: str) -> Mapping[str, Any]:
        with library_errors("read", self._folder, *_LIBRARIES):
            (content,) = self._storage.get_episodes([self.names.index(name)])
            if not isinstance(content, Mapping):
                raise VandError(f"{self._folder}: {name}: expected an episode")
            return content

    def _numbers(self, name: str, key: str, values: Any, steps: int | None = None) -> NDArray[Any]:
        """Values that must be numbers, and so many where that is known."""
        rows = np.asarray(values)
        if rows.dtype.kind not in "biuf" or not rows.ndim:
            raise VandError(f"{self._folder}: {name}: {key}: expected numbers, got {rows.dtype}")
        if steps is not None and rows.shape != (steps,):
            raise VandError(f"{self._folder}: {name}: {key}: expected {steps}, got {rows.shape}")
        return rows

    def _seed(self, name: str) -> int | None:
        with library_errors("read", self._folder, *_LIBRARIES):
            (about,) = self._storage.get_episode_metadata([self.names.index(name)])
        seed = about.get("seed")
        return int(seed) if isinstance(seed, int | np.integer) and seed >= 0 else None


def flat(observations: Any, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Observations by key, those inside others as `outer.inner`."""
    if not isinstance(observations, Mapping):
        return {prefix[:-1] or OBSERVATION: np.asarray(observations)}
    found: dict[str, NDArray[Any]] = {}
    for key, value in observations.items():
        found |= flat(value, f"{prefix}{key}.")
    return found


def _rows(actions: Any) -> NDArray[Any]:
    """Actions as (N, A), also those that are one number."""
    rows = np.asarray(actions)
    return rows[:, None] if rows.ndim == 1 else rows


def _kinds(
    space: Any, prefix: str = ""
) -> tuple[dict[str, int], dict[str, tuple[int, int]], list[str]]:
    """Vectors and images of a space of observations, and what is neither."""
    vectors: dict[str, int] = {}
    images: dict[str, tuple[int, int]] = {}
    left: list[str] = []
    key = prefix[:-1] or OBSERVATION
    if isinstance(space, spaces.Dict):
        for name, inner in space.spaces.items():
            inside = _kinds(inner, f"{prefix}{name}.")
            vectors, images, left = vectors | inside[0], images | inside[1], left + inside[2]
    elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        if space.shape[-1] == 3:
            images[key] = space.shape[:2]
        else:
            left.append(key)
    elif isinstance(space, spaces.Box) and len(space.shape) < 2:
        vectors[key] = math.prod(space.shape)
    elif isinstance(space, spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete):
        vectors[key] = math.prod(space.shape or ())
    else:
        left.append(key)
    return vectors, images, left


def _bounds(folder: Path, space: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The bounds of the actions; None where the space has none."""
    if isinstance(space, spaces.Discrete):
        start = float(space.start)
        return np.array([start]), np.array([start + max(1.0, float(space.n) - 1)])
    if not isinstance(space, spaces.Box):
        raise VandError(f"{folder}: actions: expected a Box or Discrete space, got {space!r:.60}")
    low, high = (np.asarray(end, np.float64).ravel() for end in (space.low, space.high))
    return (low, high) if np.isfinite([low, high]).all() and (low < high).all() else None


def _environment(folder: Path, metadata: JsonRecord) -> dict[str, Any]:
    """The environment as Minari says it."""
    text = metadata.values.get("env_spec")
    if not isinstance(text, str):
        return {}
    spec = JsonRecord.of(f"{folder}: env_spec", parse_json(text, f"{folder}: env_spec"))
    return {
        "env_name": spec.text("id"),
        "type": 2,
        "env_kwargs": dict(spec.record("kwargs").values),
    }


def _success(infos: Mapping[str, Any]) -> bool | None:
    """Whether the last step says that the task was done; None where none says anything."""
    for key in _SUCCESS:
        if key in infos and np.size(infos[key]):
            return bool(np.asarray(infos[key]).ravel()[-1])
    return None
