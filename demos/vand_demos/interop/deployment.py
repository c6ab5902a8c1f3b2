"""Recordings of `vand_robot.runtime`, which a board without HDF5 wrote, as data sets."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import ACTION_MODES, Episode
from vand_demos.step_tasks import step_tasks_of
from vand_demos.storage.recorder import Recorder
from vand_demos.system.files import library_errors, require_regular
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_demos.system.limits import require_room
from vand_envs import TaskBatch, get_task
from vand_envs.controller import action_mode
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.robot import get_robot

RECORDING = "deployment"
"""Name of the format: one file `.npz` for each episode."""

RECORDING_FORMAT = "vand-robot-recording 1"
"""What a recording says of itself."""


def import_recording(
    path: str | Path, out: str | Path, *, overwrite: bool = False, resume: bool = False
) -> tuple[int, int]:
    """Write recordings of deployments as a data set.

    The last step is left out: nobody saw what came after it.

    Args:
        path: A recording, or a folder of them.
        out: The data set to write.
        overwrite: Whether to replace a data set that exists.
        resume: Whether to add to it.

    Returns:
        Number of episodes and of steps.

    Raises:
        UsageError: There is no recording, or `out` exists.
        VandError: A recording is damaged or foreign, or does not fit the data set.
    """
    path = Path(path)
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files or not path.exists():
        raise UsageError(f"no recording (.npz) in {path}" if files == [] else f"no file {path}")
    first = _read(files[0])
    steps = 0
    with Recorder(out, _env_args(first), resume=resume, overwrite=overwrite) as recorder:
        for file in files:
            episode = _episode(first if file == files[0] else _read(file))
            recorder.save(episode)
            steps += len(episode)
    return len(files), steps


class _Recorded:
    """A recording: its arrays, and the interface of the policy that acted."""

    def __init__(self, file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.file, self.arrays = file, arrays
        self.interface = JsonRecord.of(str(file), parse_json(self.text("interface"), str(file)))

    def array(self, name: str) -> NDArray[Any]:
        """An array of the file."""
        if name not in self.arrays:
            raise VandError(f"{self.file}: {name} is missing")
        return self.arrays[name]

    def text(self, name: str) -> str:
        """A text of the file."""
        return str(self.array(name))

    def beside(self, name: str) -> NDArray[Any] | None:
        """What a driver put beside it; None where it did not."""
        return self.arrays.get(f"extra/{name}")

    @property
    def task(self) -> str:
        """The task that was asked for."""
        known = list(self.interface.record("instructions").values)
        extra = self.beside("task")
        if (task := str(extra) if extra is not None else self.text("instruction")) == "":
            codes = self.array("obs/instruction")
            if codes.ndim != 2 or codes.shape[1] != len(known) or not len(codes):
                raise VandError(f"{self.file}: obs/instruction: expected (N, {len(known)}) codes")
            task = known[int(codes[-1].argmax())]
        if task not in known:
            raise unknown_name(f"instruction in {self.file}:", task, known)
        return task


def _read(file: Path) -> _Recorded:
    require_regular(file)
    with library_errors("read", file, "numpy", "zipfile"):
        with zipfile.ZipFile(file) as archive:
            require_room(str(file), sum(entry.file_size for entry in archive.infolist()))
        with np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    if str(content.get("format", "")) != RECORDING_FORMAT:
        raise VandError(f"{file}: expected a recording of format {RECORDING_FORMAT!r}")
    recorded = _Recorded(file, content)
    _require_shapes(recorded)
    return recorded


def _require_shapes(recorded: _Recorded) -> None:
    """Check what is by step and what is one value, before anything is cut from it.

    Raises:
        VandError: An array has another shape or type.
    """
    actions = recorded.array("actions")
    if actions.ndim != 2 or len(actions) < 2 or actions.dtype.kind != "f":
        raise VandError(f"{recorded.file}: expected actions of two steps or more")
    images = recorded.interface.record("images").values
    axes = {
        name: 4 if name.removeprefix("obs/") in images else 2
        for name in recorded.arrays
        if name.startswith("obs/")
    }
    axes |= {"extra/states": 2, "extra/rewards": 1}
    for name, ndim in axes.items():
        array = recorded.arrays.get(name)
        if array is None:
            continue
        if array.ndim != ndim or len(array) != len(actions) or array.dtype.kind not in "biuf":
            raise VandError(
                f"{recorded.file}: {name}: expected numbers with {ndim} axes, the first of"
                f" {len(actions)} steps; got {array.dtype} of shape {array.shape}"
            )
    seed = recorded.beside("seed")
    if seed is not None and (seed.shape or seed.dtype.kind not in "iu" or int(seed) < 0):
        raise VandError(f"{recorded.file}: extra/seed: expected an integer >= 0")


def _env_args(recorded: _Recorded) -> dict[str, Any]:
    """The environment that a data set of the recording says it is of."""
    interface = recorded.interface
    mode = interface.text("action_mode")
    kwargs: dict[str, Any] = {
        "robot": interface.text("robot"),
        "action_mode": mode,
        "control_dt_s": interface.number("control_dt_s", 0),
        "instructions": list(interface.record("instructions").values),
    }
    images = interface.record("images")
    if images.values:
        kwargs["cameras"] = {key: list(images.integer_list(key, 1)) for key in images.values}
    if mode == "native":
        kwargs |= {key: list(interface.number_list(key)) for key in ("action_low", "action_high")}
        env = {"env_name": "robot", "env_version": "0", "type": 2}
        return {**env, "env_kwargs": kwargs}
    return {**_batch(recorded).env_args, "env_kwargs": kwargs}


def _batch(recorded: _Recorded) -> TaskBatch:
    """The simulation that the policy was trained in."""
    interface = recorded.interface
    return TaskBatch(
        recorded.task,
        1,
        robot=get_robot(interface.text("robot")),
        action_mode=action_mode(interface.text("action_mode")),
        control_dt_s=interface.number("control_dt_s", 0),
    )


def _episode(recorded: _Recorded) -> Episode:
    interface, mode = recorded.interface, recorded.interface.text("action_mode")
    actions = recorded.array("actions")
    observations = {
        name.removeprefix("obs/"): value
        for name, value in recorded.arrays.items()
        if name.startswith("obs/")
    }
    steps = len(actions) - 1
    success = recorded.text("success") == "True"
    extra, native = recorded.beside, mode == "native"
    codes = observations.get("instruction")  # it may change on the way
    states, seed, model = extra("states"), extra("seed"), extra("model")
    bounds: dict[str, Any] = {}
    if native:
        bounds = {k: np.array(interface.number_list(k)) for k in ("action_low", "action_high")}
        low, high = bounds.values()
        actions = np.clip(2 * (actions - low) / (high - low) - 1, -1, 1)
        bounds["source"] = {"format": RECORDING, "name": recorded.file.name, "version": "1"}
    values: dict[str, Any] = {
        "task": recorded.task,
        "instruction": recorded.task if native else get_task(recorded.task).instruction,
        "seed": 0 if seed is None else int(seed),
        "success": success,
        "device": f"deploy/{_device(recorded.text('driver'))}",
        "control_dt_s": interface.number("control_dt_s", 0),
        "action_mode": mode,
        "observations": {key: value[:-1] for key, value in observations.items()},
        "next_observations": {key: value[1:] for key, value in observations.items()},
        "actions": actions[:-1].astype(np.float32),
        "action_parts": {} if native else _parts(actions[:-1].astype(np.float32), mode),
        "rewards": _rewards(extra("rewards"), steps, success=success),
        "dones": (np.arange(steps) == steps - 1).astype(np.int64),
        "states": None if states is None else states[:-1],
        "step_tasks": None if codes is None or codes.ndim != 2 else step_tasks_of(codes[:-1]),
        "model_file": str(model) if model is not None else None if native else _world(recorded),
        "recorded_at": recorded.text("recorded_at"),
        "versions": interface.texts("versions"),
        **bounds,
    }
    return Episode(**values)


def _parts(actions: NDArray[np.float32], mode: str) -> dict[str, NDArray[np.float32]]:
    """Actions (N, A) in the parts of their mode: the base, the arm, the gripper."""
    pieces = np.split(actions, [3, actions.shape[1] - 1], axis=1)
    return dict(zip(ACTION_MODES[action_mode(mode)], pieces, strict=True))


def _rewards(rewards: NDArray[Any] | None, steps: int, *, success: bool) -> NDArray[np.float32]:
    """Rewards (N,): those of the driver, or one at the end of what went well."""
    if rewards is not None and rewards[:-1].any():
        return rewards[:-1].astype(np.float32)
    made = np.zeros(steps, np.float32)
    made[-1] = float(success)
    return made


def _world(recorded: _Recorded) -> str:
    """The world that the policy was trained in: a real one has no model."""
    return str(_batch(recorded).world.xml)


def _device(driver: str) -> str:
    """A driver's name as the second part of a device's name."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in driver)
    return kept[:40] or "robot"
