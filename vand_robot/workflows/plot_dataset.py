"""Figures of a data set; one episode is read at a time."""

from pathlib import Path

import numpy as np

from vand_demos import ACTION_MODES, DemoDataset
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
    trajectories,
)

_AXES = {
    "base_twist": ("x", "y", "yaw"),
    "ee_twist": ("x", "y", "z", "roll", "pitch", "yaw"),
}
"""Names of the numbers of an action part, where they have any."""


def write_figures(file: str | Path, out: str | Path, *, force: bool = False) -> tuple[Path, ...]:
    """Draw a data set into a folder: `durations.png`, `actions.png`, `<task>.png` for each task.

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
        pictures = [out / f"{stem}.png" for stem in ("durations", "actions", *dataset.tasks)]
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
        for task, names in of_task.items():
            paths = [read_trajectory(dataset, name) for name in names]
            drawn.append(png_bytes(trajectories(paths, task)))
    # all at the end, so that a kill does not leave some of them for --force to replace
    for picture, content in zip(pictures, drawn, strict=True):
        write_bytes(picture, content)
    return tuple(pictures)


def read_trajectory(dataset: DemoDataset, name: str) -> Trajectory:
    """Read the path of hand and base in an episode from its observations.

    Raises:
        VandError: The episode lacks `base_pose` or `ee_pos`, or cannot be read.
    """
    seen = {key: dataset.array(name, f"obs/{key}") for key in ("base_pose", "ee_pos")}
    return Trajectory(
        base=seen["base_pose"][:, :2].astype(np.float64),
        hand=hand_path(seen),
        dt=float(dataset.attribute(name, "control_dt_s")),
        success=dataset.attribute(name, "success") is not False,
    )


def _duration_s(dataset: DemoDataset, name: str) -> float:
    return float(dataset.attribute(name, "num_samples") * dataset.attribute(name, "control_dt_s"))


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
