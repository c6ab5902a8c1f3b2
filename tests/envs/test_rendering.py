"""Rendering where the display, the driver's settings or the process are not as they should be."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.helpers.display import display  # noqa: F401  (a fixture)
from vand_envs import TaskBatch, make_world
from vand_envs.errors import UsageError, VandError
from vand_envs.rendering import Renderer

DRAW = """
import vand_envs
from vand_envs.errors import VandError
batch = vand_envs.TaskBatch("wipe", 1, num_threads=1)
batch.reset([0])
try:
    with vand_envs.rendering.Renderer(batch.model, 32, 24) as renderer:
        print("drawn", renderer.render(batch.simulation.data(0)).mean())
except VandError as error:
    print(error)
"""
VARIABLES = (
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "MUJOCO_GL",
    "MUJOCO_EGL_DEVICE_ID",
    "PYOPENGL_PLATFORM",
)


def _draw(**variables):
    """What a process prints that draws under these environment variables and no others."""
    clean = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "dead",
    [{"DISPLAY": ":77"}, {"DISPLAY": "localhost:10.0"}, {"WAYLAND_DISPLAY": "stale"}],
    ids=str,
)
def test_a_display_that_does_not_answer_is_done_without(dead):
    assert _draw(**dead).startswith("drawn")


def test_a_display_that_answers_draws_the_same(display):  # noqa: F811
    assert _draw(DISPLAY=display).startswith("drawn")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MUJOCO_GL": "glfw", "DISPLAY": ":77"}, "MUJOCO_GL=glfw cannot render without a display"),
        ({"MUJOCO_GL": "glfw"}, "MUJOCO_GL=glfw cannot render without a display: unset it"),
        ({"MUJOCO_GL": "off"}, "MUJOCO_GL=off turns rendering off: unset it"),
        ({"MUJOCO_EGL_DEVICE_ID": "99"}, "MUJOCO_EGL_DEVICE_ID=99: unset it"),
        ({"PYOPENGL_PLATFORM": "glx"}, "PYOPENGL_PLATFORM=glx is no platform"),
    ],
)
def test_an_error_names_the_variable_that_is_in_the_way(variables, message):
    said = _draw(**variables)
    assert message in said
    assert "install" not in said
    assert "\n" not in said


@pytest.mark.parametrize("size", [(0, 24), (32, "24"), (32, 1.5), (32, 100_000)])
def test_an_impossible_size_is_refused_when_the_renderer_is_made(size):
    with pytest.raises(UsageError, match="expected an integer from 1 to 8192"):
        Renderer(make_world().model, *size)


def test_another_thread_is_told_that_it_cannot_draw():
    batch = TaskBatch("wipe", 1)
    batch.reset([0])
    errors = []
    with Renderer(batch.model, 32, 24) as renderer:

        def draw():
            try:
                renderer.render(batch.simulation.data(0))
            except VandError as error:
                errors.append(str(error))

        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
    assert errors == ["cannot render: a renderer draws in the thread that made it"]


def _answer(connection, task):
    try:
        connection.send(str(task()))
    except VandError as error:
        connection.send(str(error))


def _in_a_forked_process(task):
    """What a task says, or the error that it raises, in a process forked from this one."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_answer, args=(sending, task))
    child.start()
    said = receiving.recv() if receiving.poll(60) else "no answer"
    child.kill()
    child.join()
    return said


def test_a_forked_process_is_told_to_start_anew_where_it_would_wait_for_ever():
    batch = TaskBatch("wipe", 2, num_threads=2)
    batch.reset([0, 1])
    data = batch.simulation.data(0)
    with Renderer(batch.model, 32, 24) as renderer:
        renderer.render(data)
        assert "spawn" in _in_a_forked_process(lambda: renderer.render(data).mean())
        assert "spawn" in _in_a_forked_process(lambda: Renderer(batch.model, 32, 24))
    still = np.zeros((2, 10), np.float32)
    assert "spawn" in _in_a_forked_process(lambda: batch.step(still))


FORKED = """
import gymnasium, vand_envs
from gymnasium.vector import AsyncVectorEnv

def make():
    return gymnasium.make("VandRobot/Wipe-v0", cameras={"head_rgb": (16, 16)})

env = make()
env.reset(seed=0)  # the parent draws
try:
    envs = AsyncVectorEnv([make, make], context="fork")
    envs.reset(seed=0)
except Exception as error:
    print("error:", error)
    envs.close(terminate=True)
"""


def test_an_async_vector_environment_forked_after_rendering_says_what_to_do(tmp_path):
    script = tmp_path / "forked.py"
    script.write_text(FORKED)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False
    )
    assert "error: cannot render in a process that was forked" in done.stdout, done.stderr
    assert 'context="spawn"' in done.stdout


def test_one_simulation_may_be_stepped_in_a_forked_process():
    batch = TaskBatch("wipe", 1)
    batch.reset([0])
    still = np.zeros((1, 10), np.float32)
    assert _in_a_forked_process(lambda: len(batch.step(still))) == str(len(batch.observe()))
