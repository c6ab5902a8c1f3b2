"""The gallery: what every task looks like, as its expert does it.

Run as `python -m vand_demos.gallery FOLDER`.
"""

import sys
from pathlib import Path

import mujoco
import numpy as np
import numpy.typing as npt
from PIL import Image

from vand_demos.episode import Episode
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.files import disk_errors
from vand_envs import TaskBatch, task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.rendering import Renderer

SEED = 3
"""Seed of the demonstration that is shown; the next that succeeds, if it does not."""
STRIP = 1280, 300
"""Width and height of a task's picture, a row of moments [pixel]."""
MOMENTS = 4
"""Moments shown of a periodic task, over one cycle."""
LOOK_ACROSS_DEG = 125.0
"""Direction of view against the robot's heading [degree]: across, from ahead of it."""
LOOK_DOWN_DEG = -24.0
"""Direction of view against the horizon [degree]."""
DISTANCE_M = 2.1
"""Distance of the camera from the middle between hand and base [m]."""

Pixels = npt.NDArray[np.uint8]


def write_gallery(folder: Path) -> None:
    """Draw every task as a row of moments, `<task>.jpg`.

    Raises:
        VandError: Nothing can be rendered, or the disk fails.
    """
    for task_id in task_ids():
        with disk_errors("write", folder):
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_task(task_id)).save(folder / f"{task_id}.jpg", quality=88)


def draw_task(task_id: str) -> Pixels:
    """A task's demonstration as a row of moments, (height, width, 3)."""
    episode = next(filter(_shows_it, demonstrate(task_id, range(SEED, SEED + 50))))
    moments = moments_of(episode)
    batch = TaskBatch(task_id, 1)
    batch.reset([episode.seed])
    width, height = STRIP[0] // len(moments), STRIP[1]
    tiles = []
    with Renderer(batch.model, 2 * width, 2 * height) as renderer:
        for t in moments:
            batch.simulation.restore(_states(episode)[t : t + 1])
            pixels = renderer.render(batch.simulation.data(0), _camera(batch))
            # twice the size, halved: smoother edges than multisampling gives
            tiles.append(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    return np.concatenate([np.asarray(tile) for tile in tiles], axis=1)


def moments_of(episode: Episode) -> list[int]:
    """Steps at which stages were completed; of a periodic task, steps of its second cycle."""
    closed = np.flatnonzero(episode.rewards)
    if TaskBatch(episode.task, 1).task.kind == "sequential":
        return [min(int(t) + 1, len(episode) - 1) for t in closed]
    first, second = closed[:2]
    return [int(t) for t in np.linspace(first, second, MOMENTS, endpoint=False)]


def _shows_it(episode: Episode) -> bool:
    """Whether a demonstration has what a picture needs: a success, and a whole cycle inside."""
    return episode.success and int(episode.rewards.sum()) > 1


def _states(episode: Episode) -> npt.NDArray[np.float64]:
    if episode.states is None:
        raise VandError(f"a demonstration of {episode.task!r} has no states to draw")
    return episode.states


def _camera(batch: TaskBatch) -> mujoco.MjvCamera:
    sim = batch.simulation
    x, y, yaw = sim.qpos[0, sim.base_qpos]
    hand = sim.site_xpos[0, sim.ee_site]
    camera = mujoco.MjvCamera()
    camera.lookat[:] = 0.35 * np.array([x, y, 0.7]) + 0.65 * hand
    camera.distance = DISTANCE_M
    camera.azimuth = np.rad2deg(yaw) + LOOK_ACROSS_DEG
    camera.elevation = LOOK_DOWN_DEG
    return camera


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise UsageError("expected one argument, the folder to write to")
    write_gallery(Path(sys.argv[1]))
