"""Minari's data set format, through its own library (HDF5 storage).

Minari's readers see observations (N + 1 of them, a dictionary by key), actions, rewards,
terminations (the episode ended in success), truncations (it ended otherwise), and in `infos` the
simulator's states and the parts of the actions, before and at each action. Episode metadata holds
task, instruction and success, and under `vand_robot` what else is known of the episode; dataset
metadata holds the environment and, under `vand_robot`, the masks.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.interop.extras import Extras, build_episode, describe_episode
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.files import library_errors
from vand_envs.errors import UsageError, VandError

NOTE = (
    "Minari finds it as minari.load_dataset(FOLDER's name) where MINARI_DATASETS_PATH names the"
    " folder around it; states and parts of actions are in infos"
)

_LIBRARIES = ("minari", "h5py")
"""Packages that read the files."""

_OURS = "vand_robot"
_STATES, _PARTS = "states", "action_dict"


def write(dataset: DemoDataset, folder: Path, name: str) -> None:
    """Writes a data set that has episodes into an empty folder.

    Raises:
        UsageError: The name is none that Minari gives to a data set.
        VandError: The data set is damaged.
    """
    try:
        parse_dataset_id(name)
    except (ValueError, TypeError) as error:  # the latter where the version is missing
        raise UsageError(f"Minari names data sets like 'wipe-v0', not {name!r}") from error
    extras = Extras.of(dataset)
    first = dataset.episode(dataset.names[0], states=False, next_observations=False)
    storage = MinariStorage.new(
        folder / "data",
        observation_space=spaces.Dict(
            {key: _space(key, rows) for key, rows in first.observations.items()}
        ),
        action_space=spaces.Box(-1.0, 1.0, first.actions.shape[1:], np.float32),
        env_spec=_env_spec(dataset.env_args),
        jpeg_encoding=False,  # it would change the images
    )
    about = {"dataset_id": name, "minari_version": minari.__version__, _OURS: extras.to_json()}
    storage.update_metadata(about)
    for index, episode in enumerate(dataset):
        storage.update_episodes([_buffer(episode)])
        storage.update_episode_metadata([_metadata(episode)], [index])


def _space(key: str, rows: NDArray[Any]) -> spaces.Box:
    """The space of one step of an observation, as the environment has it."""
    if key == "instruction":
        return spaces.Box(0.0, 1.0, rows.shape[1:], np.float32)
    if rows.dtype == np.uint8:
        return spaces.Box(0, 255, rows.shape[1:], np.uint8)
    return spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32)


def _env_spec(env_args: Mapping[str, Any]) -> EnvSpec | None:
    """Specification for `recover_environment`; None if the environment is unknown here."""
    spec = gymnasium.registry.get(env_args["env_name"])
    if spec is None:
        return None
    kwargs = {**spec.kwargs, **env_args["env_kwargs"]}
    return EnvSpec(id=spec.id, entry_point=str(spec.entry_point), kwargs=kwargs)


def _buffer(episode: Episode) -> EpisodeBuffer:
    """An episode as Minari holds it; where it is not known what was seen last, that before it."""
    last = {**episode.observations, **episode.next_observations}
    done = episode.dones.astype(bool)
    states = {} if episode.states is None else {_STATES: episode.states}
    return EpisodeBuffer(
        seed=episode.seed,
        observations={
            key: np.concatenate([rows, last[key][-1:]])
            for key, rows in episode.observations.items()
        },
        actions=episode.actions,
        rewards=episode.rewards,
        terminations=done & episode.success,
        truncations=done & (not episode.success),
        infos={**states, _PARTS: dict(episode.action_parts)},
    )


def _metadata(episode: Episode) -> dict[str, Any]:
    return {
        "task": episode.task,
        "instruction": episode.instruction,
        "success": episode.success,
        _OURS: describe_episode(episode),
    }


def read_extras(folder: Path) -> Extras:
    """Read our own part of a folder.

    Raises:
        VandError: It is none that we wrote, or is damaged.
    """
    with library_errors("read", folder, *_LIBRARIES):
        metadata = MinariStorage.read_raw_metadata(folder / "data")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_OURS), str):
        raise VandError(
            f"{folder}: expected metadata {_OURS!r}, as `demos export` writes it; data sets of"
            f" other robots have no place in this format"
        )
    return Extras.from_json(metadata[_OURS], folder)


def read(folder: Path, extras: Extras) -> Iterator[Episode]:
    """Every episode, one at a time.

    Raises:
        VandError: The folder is damaged.
    """
    with library_errors("read", folder, *_LIBRARIES):
        storage = _open(folder)
        for index in range(storage.total_episodes):
            (about,) = storage.get_episode_metadata([index])
            (content,) = storage.get_episodes([index])
            _require_complete(folder, index, about, content, extras)
            yield _episode(about, content, extras)


def _open(folder: Path) -> MinariStorage:
    try:
        return MinariStorage.read(folder / "data")
    except AssertionError as error:  # how Minari says that its metadata are of a wrong kind
        raise VandError(f"cannot read {folder}: its metadata are damaged") from error


def _require_complete(folder: Path, index: int, about: Any, content: Any, extras: Extras) -> None:
    """Raises VandError for an episode that lacks what the way back needs."""
    parts = (content["infos"] or {}).get(_PARTS, {}) if extras.action_parts else {}
    for owner, names in (
        (about, (_OURS,)),
        (content["observations"], extras.observations),
        (parts, extras.action_parts),
    ):
        for name in names:
            if not isinstance(owner, Mapping) or name not in owner:
                raise VandError(f"cannot read {folder}: episode {index}: {name!r} is missing")


def _episode(about: Mapping[str, Any], content: Mapping[str, Any], extras: Extras) -> Episode:
    """The inverse of `_buffer` and `_metadata`."""
    seen = {key: content["observations"][key] for key in extras.observations}
    infos = content["infos"] or {}
    parts = infos.get(_PARTS, {})
    return build_episode(
        str(about[_OURS]),
        {key: rows[:-1] for key, rows in seen.items()},
        {key: rows[-1:] for key, rows in seen.items()},
        actions=content["actions"],
        action_parts={part: parts[part] for part in extras.action_parts},
        rewards=content["rewards"],
        dones=(content["terminations"] | content["truncations"]).astype(np.int64),
        states=infos.get(_STATES),
    )
