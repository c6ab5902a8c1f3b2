"""The pictures of the tasks."""

import numpy as np
import pytest

from vand_demos.experts.demonstrate import demonstrate
from vand_demos.gallery import CAPTION, OVERVIEW, STRIP, captions, draw_task, draw_workshop
from vand_demos.gallery import moments_of as moments
from vand_envs import TaskBatch


@pytest.mark.parametrize("task_id", ["knock-3", "wipe"])
def test_every_moment_shown_has_a_name_of_its_own(task_id):
    episode = next(iter(demonstrate(task_id, [3])))
    shown = moments(episode)
    names = captions(TaskBatch(task_id, 1), shown)
    assert sorted(set(shown)) == shown
    assert len(set(names)) == len(names) == len(shown)
    assert names[0] == {"knock-3": "knock 1", "wipe": "0.0 s"}[task_id]


@pytest.mark.slow
def test_pictures_have_their_size_and_show_something():
    world, strip = draw_workshop(), draw_task("press-caba")
    assert world.shape == (OVERVIEW[1], OVERVIEW[0], 3)
    assert strip.shape == (STRIP[1] + CAPTION, STRIP[0], 3)
    assert all(picture.reshape(-1, 3).std(axis=0).min() > 10 for picture in (world, strip))
    assert np.ptp(strip[-CAPTION:]) > 200  # black on white
