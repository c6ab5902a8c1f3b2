"""Minari's data set format, through its own library (HDF5 storage).

Minari's readers see observations (N + 1 of them, a dictionary by key), actions, rewards,
terminations (the episode ended in success), truncations (it ended otherwise), and in `infos` the
simulator's states, the parts of the actions, which steps are disturbed and, where it changes, the
task of each step, before and at each action. Episode metadata holds task, instruction and success,
and under `vand_robot` what else is known of the episode; dataset metadata holds the environment
and, under `vand_robot`, the masks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from vand_demos.interop.minari_source import MinariSource
from vand_demos.native import NATIVE
from vand_demos.storage.guard import require_groups_fit
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.files import library_errors, require_regular
from vand_demos.system.isolation import LostProcessError, run_apart
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError, VandError

NOTE = (
    "Minari finds it as minari.load_dataset(FOLDER's name) where MINARI_DATASETS_PATH names the"
    " folder around it; states and parts of actions are in infos"
)

_LIBRARIES = ("minari", "h5py")
"""Packages that read the files."""

_METADATA, _ARRAYS = Path("data/metadata.json"), Path("data/main_data.hdf5")

TRIAL_MEMORY_BYTES = 1 << 30
"""Limit of memory for opening a folder for trial [bytes]."""

EPISODE_S = 600.0
"""Time that writing one episode may take [s]."""

_OURS = "vand_robot"
_STATES, _PARTS, _DISTURBED = "states", "action_dict", "disturbed"
_STEP_TASKS = "step_tasks"


def write(dataset: DemoDataset, folder: Path, name: str) -> None:
    """Write a data set that has episodes into an empty folder, from another process.

    HDF5 crashes the process that writes a file where the disk refuses it: Minari's own calls have
    no way to claim the space before.

    Raises:
        UsageError: The name is none that Minari gives to a data set.
        VandError: The data set is damaged, or the disk is full or fails.
    """
    try:
        parse_dataset_id(name)
    except (ValueError, TypeError) as error:  # the latter where the version is missing
        raise UsageError(f"Minari names data sets like 'wipe-v0', not {name!r}") from error
    for _ in run_apart(
        "vand_demos.interop.minari:iterate_written",
        [str(dataset.path), str(folder), name],
        patience_s=EPISODE_S,
    ):
        pass


def iterate_written(path: str, folder: str, name: str) -> Iterator[int]:
    """Write the data set at a path into an empty folder, and look whether it is whole.

    Yields:
        The number of episodes that are written.

    Raises:
        VandError: See `write`.
    """
    data = Path(folder) / "data"
    with (
        DemoDataset.open(path) as dataset,
        library_errors("write", Path(name), *_LIBRARIES, "gymnasium", "numpy"),
    ):
        extras = Extras.of(dataset)
        first = dataset.episode(dataset.names[0], states=False, next_observations=False)
        storage = MinariStorage.new(
            data,
            observation_space=spaces.Dict(
                {key: _space(key, rows) for key, rows in first.observations.items()}
            ),
            action_space=_action_space(first),
            env_spec=_env_spec(dataset.env_args),
            jpeg_encoding=False,  # it would change the images
        )
        about = {"dataset_id": name, "minari_version": minari.__version__, _OURS: extras.to_json()}
        storage.update_metadata(about)
        for index, episode in enumerate(dataset):
            storage.update_episodes([_buffer(episode)])
            storage.update_episode_metadata([_metadata(episode)], [index])
            yield index + 1
        there = MinariStorage.read(data).get_episodes(range(len(dataset)))
        if sum(len(content["actions"]) for content in there) != dataset.total:
            raise VandError(f"cannot write {name}: what is on the disk is not whole")


def _space(key: str, rows: NDArray[Any]) -> spaces.Box:
    """The space of one step of an observation, as the environment has it."""
    if key == "instruction":
        return spaces.Box(0.0, 1.0, rows.shape[1:], np.float32)
    if rows.dtype == np.uint8:
        return spaces.Box(0, 255, rows.shape[1:], np.uint8)
    return spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32)


def _action_space(first: Episode) -> spaces.Box:
    """The space of the actions in their own units."""
    if first.action_low is None or first.action_high is None:
        return spaces.Box(-1.0, 1.0, first.actions.shape[1:], np.float32)
    return spaces.Box(first.action_low, first.action_high, dtype=np.float64)


def _env_spec(env_args: Mapping[str, Any]) -> EnvSpec | None:
    """Specification for `recover_environment`; None if the environment is unknown here."""
    spec = gymnasium.registry.get(env_args["env_name"])
    if spec is None or env_args["env_kwargs"]["action_mode"] == NATIVE:
        return None
    kwargs = {**spec.kwargs, **env_args["env_kwargs"]}
    return EnvSpec(id=spec.id, entry_point=str(spec.entry_point), kwargs=kwargs)


def _buffer(episode: Episode) -> EpisodeBuffer:
    """An episode as Minari holds it; where it is not known what was seen last, that before it."""
    last = {**episode.observations, **episode.next_observations}
    done = episode.dones.astype(bool)
    optional = {
        _STATES: episode.states,
        _DISTURBED: episode.disturbed,
        _STEP_TASKS: episode.step_tasks,
    }
    known = {key: rows for key, rows in optional.items() if rows is not None}
    return EpisodeBuffer(
        seed=episode.seed,
        observations={
            key: np.concatenate([rows, last[key][-1:]])
            for key, rows in episode.observations.items()
        },
        actions=episode.native_actions if episode.action_mode == NATIVE else episode.actions,
        rewards=np.zeros(len(episode)) if episode.rewards is None else episode.rewards,
        terminations=done & bool(episode.success),
        truncations=done & (not episode.success),
        infos={**known, _PARTS: dict(episode.action_parts)},
    )


def _metadata(episode: Episode) -> dict[str, Any]:
    return {
        "task": episode.task,
        "instruction": episode.instruction,
        **({} if episode.success is None else {"success": episode.success}),
        _OURS: describe_episode(episode),
    }


def is_ours(folder: Path) -> bool:
    """Whether a folder is one that we wrote.

    Raises:
        VandError: It is damaged.
    """
    _require_harmless(folder)
    return _OURS in JsonRecord.read(folder / _METADATA).values


@contextmanager
def open_source(folder: Path) -> Iterator[MinariSource]:
    """Open a set of others.

    Raises:
        VandError: It is damaged, or declares more than fits the limit of memory.
    """
    _require_harmless(folder)
    metadata = JsonRecord.read(folder / _METADATA)
    with library_errors("read", folder, *_LIBRARIES):
        yield MinariSource(folder, _open(folder), metadata)


def read_extras(folder: Path) -> Extras:
    """Read our own part of a folder.

    Raises:
        VandError: It is none that we wrote, or is damaged.
    """
    _require_harmless(folder)
    metadata = JsonRecord.read(folder / _METADATA).values
    text = metadata.get(_OURS)
    if not isinstance(text, str):
        raise VandError(
            f"{folder}: expected metadata {_OURS!r}, as `demos export` writes it; data sets of"
            f" other robots have no place in this format"
        )
    return Extras.from_json(text, folder / _METADATA)


def _require_harmless(folder: Path) -> None:
    """Opens a folder for trial in a process whose time and memory are limited.

    Raises:
        VandError: It is no folder of Minari's, is damaged, or declares more than fits the limit of
            memory.
    """
    for name in (_METADATA, _ARRAYS):
        require_regular(folder / name)
    try:
        for _ in run_apart(
            "vand_demos.interop.minari:iterate_trial",
            [str(folder)],
            memory_bytes=TRIAL_MEMORY_BYTES,
        ):
            pass
    except LostProcessError as error:
        raise VandError(f"cannot read {folder}: opened for trial, it {error}") from error


def iterate_trial(folder: str) -> Iterator[str]:
    """Opens a folder as `read` does, to see what that takes; no array is read.

    Yields:
        What has been done.

    Raises:
        VandError: The folder is damaged, or declares more than fits the limit of memory.
    """
    require_groups_fit(Path(folder) / _ARRAYS)
    yield "declarations"
    with library_errors("read", Path(folder), *_LIBRARIES, "gymnasium", "numpy"):
        _open(Path(folder))
    yield "opened"


def read(folder: Path, extras: Extras) -> Iterator[Episode]:
    """Every episode, one at a time.

    Raises:
        VandError: The folder is damaged.
    """
    with library_errors("read", folder, *_LIBRARIES):
        storage = _open(folder)
        count = JsonRecord.read(folder / _METADATA).integer("total_episodes", 0)
        for index in range(count):
            (about,) = storage.get_episode_metadata([index])
            (content,) = storage.get_episodes([index])
            _require_complete(folder, index, about, content, extras)
            yield _episode(f"{folder}: episode {index}", about, content, extras)


def _open(folder: Path) -> MinariStorage:
    try:
        return MinariStorage.read(folder / "data")
    except (AssertionError, KeyError, TypeError) as error:  # metadata of a wrong kind
        raise VandError(f"cannot read {folder}: its metadata are damaged") from error


def _require_complete(folder: Path, index: int, about: Any, content: Any, extras: Extras) -> None:
    """Raise VandError for an episode that lacks what the way back needs."""
    parts = (content["infos"] or {}).get(_PARTS, {}) if extras.action_parts else {}
    for owner, names in (
        (about, (_OURS,)),
        (content["observations"], extras.observations),
        (parts, extras.action_parts),
    ):
        for name in names:
            if not isinstance(owner, Mapping) or name not in owner:
                raise VandError(f"cannot read {folder}: episode {index}: {name!r} is missing")
            if owner is not about and not (
                isinstance(owner[name], np.ndarray) and owner[name].ndim
            ):
                raise VandError(f"cannot read {folder}: episode {index}: {name!r} is no array")


def _episode(
    source: str, about: Mapping[str, Any], content: Mapping[str, Any], extras: Extras
) -> Episode:
    """The inverse of `_buffer` and `_metadata`."""
    seen = {key: content["observations"][key] for key in extras.observations}
    infos = content["infos"] or {}
    parts = infos.get(_PARTS, {})
    return build_episode(
        source,
        str(about[_OURS]),
        {key: rows[:-1] for key, rows in seen.items()},
        {key: rows[-1:] for key, rows in seen.items()},
        actions=content["actions"],
        action_parts={part: parts[part] for part in extras.action_parts},
        rewards=content["rewards"],
        dones=(content["terminations"] | content["truncations"]).astype(np.int64),
        states=infos.get(_STATES),
        disturbed=infos.get(_DISTURBED),
        step_tasks=infos.get(_STEP_TASKS),
    )
