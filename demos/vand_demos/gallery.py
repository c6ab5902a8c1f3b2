"""Pictures of every task, as its expert does it.

Run as `python -m vand_demos.gallery FOLDER`.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import mujoco
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vand_demos.episode import Episode
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.system.files import disk_errors
from vand_envs import TaskBatch, task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.rendering import Renderer

SEED = 3
"""Seed of the demonstration that is shown; the next that succeeds, if it does not."""
STRIP = 1280, 300
"""Width and height of a task's picture, a row of moments [pixel]."""
CAPTION = 30
"""Height of the line under the moments that names them [pixel]."""
WORKSHOP = "workshop"
"""Name of the picture of the whole world."""
OVERVIEW = 1280, 560
"""Width and height of that picture [pixel]."""
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
    """Draw the world, `workshop.jpg`, and every task as a row of moments, `<task>.jpg`.

    Raises:
        VandError: Nothing can be rendered, or the disk fails.
    """
    with disk_errors("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    pictures = {WORKSHOP: draw_workshop}
    pictures |= {task_id: partial(draw_task, task_id) for task_id in task_ids()}
    for name, draw in pictures.items():
        pixels = draw()
        with disk_errors("write", folder):
            Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=88)


def draw_workshop() -> Pixels:
    """The whole world, while the robot lifts the cube, (height, width, 3)."""
    episode, batch = _demonstration("stow-cube")
    camera = mujoco.MjvCamera()
    camera.lookat[:] = 0.45, 0.0, 0.55
    camera.distance, camera.azimuth, camera.elevation = 3.4, 150.0, -26.0
    (lifted, *_) = moments_of(episode)
    return _drawn(batch, episode, [lifted], OVERVIEW, lambda _: camera)[0]


def draw_task(task_id: str) -> Pixels:
    """A task's demonstration as a row of moments with their names, (height, width, 3)."""
    episode, batch = _demonstration(task_id)
    moments = moments_of(episode)
    size = STRIP[0] // len(moments), STRIP[1]
    row = np.concatenate(_drawn(batch, episode, moments, size, _camera), axis=1)
    height, width, _ = row.shape
    picture = Image.new("RGB", (width, height + CAPTION), "white")
    picture.paste(Image.fromarray(row))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    for i, name in enumerate(captions(batch, moments)):
        middle = (i + 0.5) * size[0], height + CAPTION / 2
        pen.text(middle, name, fill="#1c2733", font=font, anchor="mm")
    return np.asarray(picture)


def captions(batch: TaskBatch, moments: Sequence[int]) -> list[str]:
    """Caption of each moment: the stage that it completes; of a cycle, the time since the first."""
    if batch.task.kind == "sequential":
        return list(batch.task.stage_names)
    return [f"{(t - moments[0]) * batch.control_dt_s:.1f} s" for t in moments]


def _demonstration(task_id: str) -> tuple[Episode, TaskBatch]:
    """A demonstration to show, and a world in which its states can be drawn."""
    episode = next(filter(_shows_it, demonstrate(task_id, range(SEED, SEED + 50))))
    batch = TaskBatch(task_id, 1)
    batch.reset([episode.seed or 0])
    return episode, batch


def _drawn(
    batch: TaskBatch,
    episode: Episode,
    moments: Sequence[int],
    size: tuple[int, int],
    camera: Callable[[TaskBatch], mujoco.MjvCamera],
) -> list[Pixels]:
    """Moments of a demonstration, (height, width, 3) each."""
    tiles = []
    with Renderer(batch.model, 2 * size[0], 2 * size[1]) as renderer:
        for t in moments:
            batch.simulation.restore(_states(episode)[t : t + 1])
            pixels = renderer.render(batch.simulation.data(0), camera(batch))
            # twice the size, halved: smoother edges than multisampling gives
            tiles.append(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)))
    return tiles


def moments_of(episode: Episode) -> list[int]:
    """Steps at which stages were completed; of a periodic task, steps of its second cycle."""
    closed = np.flatnonzero(np.asarray(episode.rewards))
    if TaskBatch(episode.task, 1).task.kind == "sequential":
        return [min(int(t) + 1, len(episode) - 1) for t in closed]
    first, second = closed[:2]
    return [int(t) for t in np.linspace(first, second, MOMENTS, endpoint=False)]


def _shows_it(episode: Episode) -> bool:
    """Whether a demonstration has what a picture needs: a success, and a whole cycle inside."""
    return bool(episode.success) and int(np.sum(np.asarray(episode.rewards))) > 1


def _states(episode: Episode) -> npt.NDArray[np.float64]:
    if episode.states is None:
        raise VandError(f"a demonstration of {episode.task!r} has no states to draw")
    return episode.states


def _camera(batch: TaskBatch) -> mujoco.MjvCamera:
    sim = batch.simulation
    x, y, yaw = sim.base.pose()[0]
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
