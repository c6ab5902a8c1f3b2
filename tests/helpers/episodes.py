"""Small episodes for the tests of the demonstration store, and processes that record them."""

import contextlib
import os

try:
    import resource
except ImportError:  # Windows has none
    resource = None
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos import Episode, Recorder
from vand_demos.episode import utc_now
from vand_demos.storage.layout import parts_folder
from vand_demos.system.files import exclusive
from vand_envs.errors import VandError

ENV_ARGS: dict[str, Any] = {
    "env_name": "VandRobot/Wipe-v0",
    "env_version": "1",
    "type": 2,
    "env_kwargs": {
        "robot": "vander",
        "action_mode": "ee_twist",
        "control_dt_s": 0.1,
        "physics_dt_s": 0.005,
        "instructions": ["stow-cube", "wipe"],
    },
}


def env_args(**changes: Any) -> dict[str, Any]:
    return {**ENV_ARGS, "env_kwargs": {**ENV_ARGS["env_kwargs"], **changes}}


def fields(seed: int = 0, steps: int = 7, keys: int = 2, image: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    seen: dict[str, Any] = {
        f"key_{i}": rng.normal(size=(steps + 1, 3)).astype(np.float32) for i in range(keys)
    }
    if image:
        seen["camera"] = rng.integers(0, 255, (steps + 1, 4, 5, 3), dtype=np.uint8)
    sizes = {"base_twist": 3, "ee_twist": 6, "joint_targets": 8, "gripper": 1}
    parts = {k: rng.uniform(-1, 1, (steps, n)).astype(np.float32) for k, n in sizes.items()}
    actions = np.concatenate([parts[k] for k in ("base_twist", "ee_twist", "gripper")], axis=1)
    return {
        "task": "wipe",
        "instruction": "wipe the board in circles",
        "seed": seed,
        "success": True,
        "device": "expert",
        "control_dt_s": 0.1,
        "action_mode": "ee_twist",
        "observations": {key: value[:-1] for key, value in seen.items()},
        "next_observations": {key: value[1:] for key, value in seen.items()},
        "actions": actions,
        "action_parts": parts,
        "rewards": (np.arange(steps) == min(3, steps - 1)).astype(np.float32),
        "dones": (np.arange(steps) == steps - 1).astype(np.int64),
        "states": rng.normal(size=(steps, 11)),
        "model_file": "<mujoco model='world'/>",
        "recorded_at": utc_now(),
        "versions": {"mujoco": "4.0.0"},
    }


def episode(
    seed: int = 0, /, steps: int = 7, keys: int = 2, image: bool = False, **changes: Any
) -> Episode:
    return Episode(**{**fields(seed, steps, keys, image), **changes})


def put(arrays: Any, at: tuple[int, ...], value: float) -> Any:
    """A copy of an array with one number changed."""
    changed = np.array(arrays)
    changed[at] = value
    return changed


def same(a: Episode, b: Episode) -> bool:
    """Whether two episodes hold the same, bit for bit, whatever their names."""
    ours, theirs = vars(a), vars(b)
    return all(_same(ours[key], theirs[key]) for key in ours if key != "name")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


# Processes: each runs in an interpreter of its own and is killed, or reports, through a file.


def record_forever(path: Path, acknowledged: Path) -> None:
    """Sessions of one or two episodes; the identity of each is noted once `save` has returned."""
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for seed in range(10**6):
        with Recorder(path, ENV_ARGS, resume=True) as recorder:
            for _ in range(1 + seed % 2):
                saved = episode(seed)
                recorder.save(saved)
                os.write(log, f"{saved.uid}\n".encode())


def record_until(step: int, path: Path, acknowledged: Path) -> None:
    """One session of two episodes, killed right before its `step`-th operation on a file name."""
    count = 0

    def hook(event: str, _: Any) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)  # calls the hook too, for another event
            count += 1

    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    saved = [episode(seed) for seed in range(2)]
    sys.addaudithook(hook)
    with Recorder(path, ENV_ARGS, resume=True) as recorder:
        for one in saved:
            recorder.save(one)
            os.write(log, f"{one.uid}\n".encode())


def record_one_and_hang(path: Path, acknowledged: Path) -> None:
    recorder = Recorder(path, ENV_ARGS, resume=True)
    saved = episode(1)
    recorder.save(saved)
    acknowledged.write_text(saved.uid)
    while True:
        pass


def record_with_file_limit(path: Path, limit: int, steps: int, report: Path) -> None:
    """Records two episodes where no file may exceed a size; reports the error's text."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    said = []
    try:
        with Recorder(path, ENV_ARGS, resume=True) as recorder:
            for seed in (1, 2):
                try:
                    recorder.save(episode(seed, steps))
                    said.append("saved")
                except VandError as error:
                    said.append(f"save: {error}")
        said.append("packed")
    except VandError as error:
        said.append(f"close: {error}")
    report.write_text("\n".join(said))


def count_under_lock(path: Path, counter: Path, times: int) -> None:
    """Counts a file up so many times, each time while holding the lock of a data set."""
    for _ in range(times):
        while True:
            with contextlib.suppress(VandError), exclusive(parts_folder(path), path):
                counter.write_text(str(int(counter.read_text()) + 1))
                break
