"""robomimic's HDF5, as robomimic and robosuite write it: `data/demo_<int>` and `mask`.

Observations are in `obs` where robomimic's `dataset_states_to_obs.py` has put them; a file that
robosuite has just collected holds states and actions alone, and then the state is the observation
`states`. Our own layout is this one with attributes beside it, so an export is a copy: what
robomimic's reader asks for and the copy lacks is filled in, and noted for the way back.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Unreadable
from vand_demos.interop.source import SourceEpisode, SourceFacts
from vand_demos.storage.decode import (
    child,
    demo_group,
    demo_names,
    hdf5_errors,
    open_file,
    read_array,
    read_attribute,
    read_split,
    split_names,
)
from vand_demos.storage.guard import require_readable
from vand_demos.storage.layout import FORMAT, LIBVER
from vand_demos.system.files import disk_errors
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError

NAME = "robomimic"

STATES = "states"
"""Observation that holds the simulator's state where a file has no observations."""

_OURS = "vand_robot"
"""Attribute of an exported file: what `restore` undoes."""

_UNIT = 1.0
"""robomimic's actions are in [-1, 1]: its documentation asks for it and its policies answer so."""


class RobomimicSource:
    """A robomimic file of others, open for reading; see `SourceSet`.

    Args:
        path: The file.
        file: The same, open.

    Raises:
        VandError: It is damaged, or holds something else.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        with hdf5_errors("read", path):
            self.names = demo_names(file)
            if not self.names:
                raise VandError(f"{path}: data: expected demo_0, demo_1, ..., got none of them")
            environment = _environment(path, file)
            vectors, images, notes = self._observations(self.names[0])
            self.facts = SourceFacts(
                format_name=NAME,
                name=path.name,
                version="",
                rate_hz=_rate_hz(path, environment),
                robot=_robot(environment),
                environment=environment,
                bounds=self._bounds(),
                vectors=vectors,
                images=images,
                masks={split: read_split(file, split) for split in split_names(file)},
                notes=notes,
            )

    def instruction(self, name: str) -> str | None:
        """The attribute `instruction`, or `language_instruction`, or None."""
        for key in ("instruction", "language_instruction"):
            text = read_attribute(demo_group(self._file, name), key)
            if isinstance(text, str) and text.strip():
                return " ".join(text.split())
        return None

    def actions(self, name: str) -> NDArray[Any]:
        """The actions (N, A) of an episode."""
        with hdf5_errors(f"read {name} of", self._path):
            return self._array(name, demo_group(self._file, name), "actions")

    def episode(self, name: str, vectors: Sequence[str], images: Sequence[str]) -> SourceEpisode:
        """Read an episode with these observations.

        Raises:
            VandError: It is damaged, or takes more memory than `VAND_MAX_BYTES`.
        """
        with hdf5_errors(f"read {name} of", self._path):
            demo = demo_group(self._file, name)
            self._require_room(name, demo)
            keys = [*vectors, *images]
            seen = {key: self._observation(name, demo, "obs", key) for key in keys}
            after = {}
            if "next_obs" in demo:
                known = [key for key in keys if key in demo["next_obs"]]
                after = {key: self._observation(name, demo, "next_obs", key) for key in known}
            optional: dict[str, Any] = {
                key: self._array(name, demo, key) if key in demo else None
                for key in ("rewards", "dones", "states")
            }
            model, success, seed = (
                read_attribute(demo, k) for k in ("model_file", "success", "seed")
            )
            return SourceEpisode(
                actions=self._array(name, demo, "actions"),
                observations=seen,
                next_observations=after if after.keys() == seen.keys() else {},
                model_file=model if isinstance(model, str) and "<mujoco" in model else None,
                success=bool(success) if isinstance(success, bool | int) else None,
                seed=seed if type(seed) is int and seed >= 0 else None,
                **optional,
            )

    def _observations(
        self, name: str
    ) -> tuple[dict[str, int], dict[str, tuple[int, int]], list[str]]:
        """Vectors and images of an episode, and notes on what is neither."""
        demo = demo_group(self._file, name)
        if "obs" not in demo:
            state = self._array(name, demo, STATES)
            note = (
                "there are no observations: the simulator's state is the observation 'states'"
                " (robomimic's dataset_states_to_obs.py makes others)"
            )
            return {STATES: int(np.prod(state.shape[1:]))}, {}, [note]
        vectors: dict[str, int] = {}
        images: dict[str, tuple[int, int]] = {}
        left: list[str] = []
        for key, item in child(demo, "obs", h5py.Group).items():
            if (
                not isinstance(item, h5py.Dataset)
                or not item.shape
                or item.dtype.kind not in "biuf"
            ):
                left.append(key)
            elif len(item.shape) == 4 and item.shape[-1] == 3 and item.dtype == np.uint8:
                images[key] = item.shape[1:3]
            elif len(item.shape) > 2:
                left.append(key)
            else:
                vectors[key] = int(np.prod(item.shape[1:]))
        return (
            vectors,
            images,
            [f"left out, neither vectors nor RGB: {', '.join(left)}"] if left else [],
        )

    def _observation(self, name: str, demo: Any, group: str, key: str) -> NDArray[Any]:
        if key == STATES and "obs" not in demo:
            return self._array(name, demo, STATES)
        return self._array(name, child(demo, group, h5py.Group), key, f"{group}/")

    def _array(self, name: str, group: Any, key: str, where: str = "") -> NDArray[Any]:
        """An array of an episode, as long as its actions.

        Raises:
            VandError: It is missing, of another length, or cannot be read.
        """
        actions = demo_group(self._file, name).get("actions")
        if not isinstance(actions, h5py.Dataset) or not actions.shape:
            raise VandError(f"{self._path}: {name}: actions is missing")
        if key not in group:
            raise VandError(f"{self._path}: {name}: {where}{key} is missing")
        value = read_array(group, key, actions.shape[0])
        if isinstance(value, Unreadable):
            reason = value.reason.replace("(num_samples)", "as in actions")
            raise VandError(f"{self._path}: {name}: {where}{key}: {reason}")
        return value

    def _bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        size = self.actions(self.names[0]).shape[1:]
        return np.full(size, -_UNIT), np.full(size, _UNIT)

    def _require_room(self, name: str, demo: Any) -> None:
        sizes: list[int] = []
        demo.visititems(
            lambda _, item: (
                sizes.append(item.size * item.dtype.itemsize)
                if isinstance(item, h5py.Dataset) and item.shape
                else None
            )
        )
        require_room(f"{self._path}: {name}", sum(sizes))


@contextmanager
def open_source(path: Path) -> Iterator[RobomimicSource]:
    """Open a robomimic file of others.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, or is damaged.
    """
    require_readable(path)
    with open_file(path) as file:
        yield RobomimicSource(path, file)


def _environment(path: Path, file: Any) -> dict[str, Any]:
    """What the file says of its environment, as robomimic writes it or as robosuite does."""
    data = child(file, "data", h5py.Group)
    text = read_attribute(data, "env_args")
    if isinstance(text, str):
        return dict(
            JsonRecord.of(str(path), parse_json(text, f"{path}: env_args"), "env_args").values
        )
    name, info = read_attribute(data, "env"), read_attribute(data, "env_info")
    if not isinstance(name, str):
        return {}
    kwargs = parse_json(info, f"{path}: env_info") if isinstance(info, str) else {}
    version = read_attribute(data, "repository_version")
    told = {"env_version": version} if isinstance(version, str) else {}
    return {"env_name": name, **told, "type": 1, "env_kwargs": kwargs}  # 1: robosuite's type


def _rate_hz(path: Path, environment: Mapping[str, Any]) -> float | None:
    kwargs = environment.get("env_kwargs")
    if not isinstance(kwargs, Mapping) or kwargs.get("control_freq") is None:
        return None
    return JsonRecord(str(path), kwargs, "env_kwargs").number("control_freq", 1.0, 1000.0)


def _robot(environment: Mapping[str, Any]) -> str:
    kwargs = environment.get("env_kwargs")
    robots = kwargs.get("robots") if isinstance(kwargs, Mapping) else None
    robots = [robots] if isinstance(robots, str) else robots
    if isinstance(robots, list) and robots and all(isinstance(r, str) for r in robots):
        return "+".join(robots)
    return "unknown"


def is_ours(path: Path) -> bool:
    """Whether a file is a data set of ours, exported or as it was recorded."""
    with open_file(path) as file:
        return bool(read_attribute(file, "format") == FORMAT)


def write_copy(path: Path, out: Path) -> str:
    """Write a data set of ours so that robomimic's own tools take it.

    Args:
        path: The data set.
        out: The copy, a file under construction.

    Returns:
        What was filled in or renamed; empty where nothing was.
    """
    with disk_errors("write", out):
        shutil.copyfile(path, out)
    with hdf5_errors("write", out), h5py.File(out, "r+", libver=LIBVER) as file:
        data = file["data"]
        text = data.attrs["env_args"]
        env_args = json.loads(text)
        undo: dict[str, Any] = {"env_args": text, "keys": {}, "rewards": []}
        data.attrs["env_args"] = json.dumps(_foreign_env_args(env_args))
        for name in demo_names(file):
            demo = data[name]
            if "rewards" not in demo:
                zeros = np.zeros(demo.attrs["num_samples"], np.float32)
                demo.create_dataset("rewards", data=zeros, track_times=False)
                undo["rewards"].append(name)
            for group in (demo[g] for g in ("obs", "next_obs") if g in demo):
                undo["keys"] |= _without_dots(out, group)
        data.attrs[_OURS] = json.dumps(undo)
    notes = (
        [f"{len(undo['rewards'])} episodes without rewards have zeros"] if undo["rewards"] else []
    )
    notes += [f"{new} is {old}" for new, old in sorted(undo["keys"].items())]
    return "; ".join(notes)


def _foreign_env_args(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """What robomimic rebuilds the environment from: the source's own where it told any."""
    kwargs = env_args["env_kwargs"]
    source = kwargs.get("source_env") or {}
    if {"env_name", "type", "env_kwargs"} <= source.keys():
        return {**source, **{key: kwargs[key] for key in ("action_low", "action_high")}}
    return dict(env_args)


def _without_dots(path: Path, group: Any) -> dict[str, str]:
    """Renames observations with dots, which torch allows in no module's name: new -> old."""
    renamed = {key.replace(".", "_"): key for key in group if "." in key}
    for new, old in renamed.items():
        if new in group:
            raise VandError(f"{path}: {old!r} cannot be called {new!r} for robomimic: it is taken")
        group.move(old, new)
    return renamed


def restore(path: Path, out: Path) -> None:
    """The inverse of `write_copy`, into a file under construction.

    Raises:
        VandError: The file is damaged.
    """
    require_readable(path)
    with disk_errors("write", out):
        shutil.copyfile(path, out)
    with hdf5_errors("read", path), h5py.File(out, "r+", libver=LIBVER) as file:
        data = child(file, "data", h5py.Group)
        text = read_attribute(data, _OURS)
        if not isinstance(text, str):
            return  # as it was recorded
        undo = JsonRecord.of(str(path), parse_json(text, f"{path}: {_OURS}"), _OURS)
        env_args, keys = undo.text("env_args"), undo.texts("keys")
        for name in undo.text_list("rewards"):
            demo = demo_group(file, name)
            if "rewards" in demo:
                del demo["rewards"]
        for name in demo_names(file):
            demo = demo_group(file, name)
            for group in (child(demo, g, h5py.Group) for g in ("obs", "next_obs") if g in demo):
                for new, old in keys.items():
                    if new in group:
                        group.move(new, old)
        data.attrs["env_args"] = env_args
        del data.attrs[_OURS]
