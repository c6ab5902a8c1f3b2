"""Figures of a data set; one episode is read at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vand_demos import ACTION_MODES, DemoDataset
from vand_demos.native import NATIVE
from vand_demos.step_tasks import last_change
from vand_demos.storage.layout import IMAGE_AXES
from vand_demos.system.files import expanded, write_bytes
from vand_envs.errors import UsageError, VandError
from vand_envs.geometry import hand_path
from vand_envs.typing import IntArray
from vand_robot.figures import png_bytes
from vand_robot.figures.demonstrations import (
    BINS,
    Trajectory,
    action_histograms,
    durations,
    film_strip,
    observed_signals,
    trajectories,
)

INSTRUCTION = "instruction"
PANELS, NUMBERS, EPISODES, FRAMES = 9, 40, 60, 6
"""The most that is drawn of one task: observations, numbers of each, demonstrations, images."""

_AXES = {
    "base_twist": ("x", "y", "yaw"),
    "ee_twist": ("x", "y", "z", "roll", "pitch", "yaw"),
}
"""Names of the numbers of an action part, where they have any."""


def write_figures(file: str | Path, out: str | Path, *, force: bool = False) -> tuple[Path, ...]:
    """Draw a data set into a folder: `durations.png`, `actions.png`, `<task>.png` for each task.

    Of tasks of our robots the last shows paths of hand and base; of what others recorded, what was
    observed, number by number, and `<task>_<images>.png` what a camera saw in one demonstration.

    Args:
        file: The data set.
        out: The folder; it is made where there is none.
        force: Whether to replace pictures that are there.

    Returns:
        The pictures.

    Raises:
        UsageError: No such file, or a picture is there already.
        VandError: The data set is damaged or empty, or the disk is full.
    """
    out = expanded(out)
    with DemoDataset.open(file, guarded=True) as dataset:
        if not dataset.names:
            raise VandError(f"{file}: the data set is empty")
        strips = _strips(dataset)
        stems = ("durations", "actions", *dataset.tasks, *strips)
        pictures = [out / f"{stem}.png" for stem in stems]
        for picture in pictures:
            if picture.exists() and not force:
                raise UsageError(f"{picture} exists already; --force replaces it")
        out.mkdir(parents=True, exist_ok=True)
        of_task = {
            task: [name for name in dataset.names if dataset.attribute(name, "task") == task]
            for task in dataset.tasks
        }
        seconds = {
            task: [_duration_s(dataset, name) for name in names] for task, names in of_task.items()
        }
        drawn = [png_bytes(durations(seconds))]
        drawn.append(png_bytes(action_histograms(_count_actions(dataset))))
        drawn += [png_bytes(_task_figure(dataset, task, names)) for task, names in of_task.items()]
        drawn += [png_bytes(_strip(dataset, name, key)) for name, key in strips.values()]
    # all at the end, so that a kill does not leave some of them for --force to replace
    for picture, content in zip(pictures, drawn, strict=True):
        write_bytes(picture, content)
    return tuple(pictures)


def _task_figure(dataset: DemoDataset, task: str, names: Sequence[str]) -> Figure:
    """Paths where there are a hand and a base, else what was observed."""
    if {"base_pose", "ee_pos"} <= dataset.observation_shapes(names[0]).keys():
        return trajectories([read_trajectory(dataset, name) for name in names], task)
    shapes = dataset.observation_shapes(names[0])
    keys = [key for key, shape in shapes.items() if len(shape) == 1 and key != INSTRUCTION][:PANELS]
    signals = {
        key: [dataset.array(name, f"obs/{key}")[:, :NUMBERS] for name in names[:EPISODES]]
        for key in keys
    }
    if not signals:
        signals = {"actions": [dataset.array(name, "actions") for name in names[:EPISODES]]}
    return observed_signals(signals, float(dataset.attribute(names[0], "control_dt_s")), task)


def _strips(dataset: DemoDataset) -> dict[str, tuple[str, str]]:
    """File name -> demonstration and image observation, the first demonstration of each task.

    Of recordings of our own world there are none: a viewer shows these.
    """
    found: dict[str, tuple[str, str]] = {}
    for task in dataset.tasks:
        name = next(n for n in dataset.names if dataset.attribute(n, "task") == task)
        if dataset.attribute(name, "action_mode") == NATIVE:
            shapes = dataset.observation_shapes(name)
            images = [key for key, shape in shapes.items() if len(shape) == IMAGE_AXES]
            found |= {f"{task}_{key}": (name, key) for key in images}
    return found


def _strip(dataset: DemoDataset, name: str, key: str) -> Figure:
    frames = dataset.array(name, f"obs/{key}")
    at = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    dt = float(dataset.attribute(name, "control_dt_s"))
    return film_strip(frames[at], [float(i) * dt for i in at], f"{name}: {key}")


def read_trajectory(dataset: DemoDataset, name: str) -> Trajectory:
    """Read the path of hand and base in an episode from its observations.

    Where the instruction changes on the way, it begins there.

    Raises:
        VandError: The episode lacks `base_pose` or `ee_pos`, or cannot be read.
    """
    start = _start(dataset, name)
    seen = {key: dataset.array(name, f"obs/{key}")[start:] for key in ("base_pose", "ee_pos")}
    return Trajectory(
        base=seen["base_pose"][:, :2].astype(np.float64),
        hand=hand_path(seen),
        dt=float(dataset.attribute(name, "control_dt_s")),
        success=dataset.attribute(name, "success") is not False,
    )


def _duration_s(dataset: DemoDataset, name: str) -> float:
    steps = dataset.attribute(name, "num_samples") - _start(dataset, name)
    return float(steps * dataset.attribute(name, "control_dt_s"))


def _start(dataset: DemoDataset, name: str) -> int:
    """Step from which on an episode's own task is told."""
    return last_change(dataset.step_tasks(name))


def _count_actions(dataset: DemoDataset) -> dict[str, IntArray]:
    """Histogram of each number of the actions: name -> counts, (BINS,)."""
    names = _action_names(dataset)
    counts = np.zeros((len(names), BINS), np.int64)
    for episode in dataset.names:
        actions = dataset.array(episode, "actions")  # (N, A)
        if actions.shape[1:] != (len(names),):
            raise VandError(f"{dataset.path}: {episode}: actions: expected {len(names)} a step")
        counts += [np.histogram(values, BINS, (-1.0, 1.0))[0] for values in actions.T]
    return dict(zip(names, counts, strict=True))


def _action_names(dataset: DemoDataset) -> list[str]:
    """A name for each number of an action: `ee_twist yaw`, `joint_targets 3`, `gripper`."""
    sizes = dataset.arrays(dataset.names[0])
    mode = dataset.attribute(dataset.names[0], "action_mode")
    parts = [part for part in ACTION_MODES.get(mode, ()) if f"action_dict/{part}" in sizes]
    if sum(sizes[f"action_dict/{part}"][0] for part in parts) != sizes["actions"][0]:
        return [f"action {i}" for i in range(sizes["actions"][0])]
    names: list[str] = []
    for part in parts:
        (size,) = sizes[f"action_dict/{part}"]
        axes = _AXES.get(part, ())
        if len(axes) != size:  # of a robot with other axes than those of the built-in one
            axes = tuple(map(str, range(size))) if size > 1 else ("",)
        names += [f"{part} {axis}".strip() for axis in axes]
    return names
