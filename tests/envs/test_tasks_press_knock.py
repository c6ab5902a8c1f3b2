"""The judges of the pressing and knocking tasks refuse what is nearly right."""

from itertools import pairwise

import numpy as np
import pytest

from vand_demos.experts import knock_3 as knocking
from vand_demos.experts import press
from vand_demos.experts.expert import Expert
from vand_demos.experts.motion import position
from vand_demos.experts.skills import OPEN
from vand_envs import TaskBatch, get_task
from vand_envs.judging import TaskTracker
from vand_envs.simulation import Simulation
from vand_envs.tasks.buttons import BUTTON_HEIGHT_M
from vand_envs.world import make_world


def _perform(task_id, script, seed=5):
    """Progress (one entry for each step) of an episode in which a script is carried out."""
    batch = TaskBatch(task_id, 1, num_threads=1)
    expert = Expert(script, seed, batch.control_dt_s)
    observation, progress = batch.reset([seed]), []
    while (action := expert.act({key: value[0] for key, value in observation.items()})) is not None:
        observation = batch.step(action[None].astype(np.float32))
        progress.append(batch.progress)
        assert len(progress) < 2 * batch.horizon
    return progress


@pytest.mark.parametrize(
    ("task_id", "order", "done", "once", "at_end"),
    [
        ("press-abac", "ABAC", 4, True, True),
        ("press-caba", "CABA", 4, True, True),
        ("press-abac", "CABA", 0, False, False),  # the other task's order
        ("press-caba", "ABAC", 0, False, False),
        ("press-abac", "ABA", 3, False, False),  # one too few
        ("press-abac", "ABACB", 4, True, False),  # one too many: done once, undone at the end
        ("press-abac", "ABBAC", 2, False, False),
        ("press-abac", "AABAC", 1, False, False),
        ("press-caba", "CABC", 3, False, False),
    ],
)
def test_only_the_order_that_was_asked_for_succeeds(task_id, order, done, once, at_end):
    last = _perform(task_id, press.script(order))[-1]
    assert last.stages_done[0] == done
    assert last.success[0] == once
    assert last.at_end[0] == at_end


class _Console:
    """Buttons moved by hand, and the judge of a task that watches them."""

    def __init__(self, task_id):
        self.sim = Simulation(make_world(), 1)
        self.judge = TaskTracker(get_task(task_id), self.sim)
        self.judge.reset(np.arange(1), {})

    def press(self, **depths_m):
        """Put buttons a, b, c to depths [m], the others up; number of stages done after that."""
        for letter in "abc":
            address = self.sim.model.joint(f"button_{letter}").qposadr[0]
            self.sim.qpos[0, address] = -depths_m.get(letter, 0.0)
        self.sim.forward()
        self.judge.judge({})
        return int(self.judge.progress.stages_done[0])


def test_a_button_at_rest_is_at_the_height_that_depths_are_measured_from():
    sim = Simulation(make_world(), 1)
    for letter in "abc":
        assert sim.xpos[0, sim.body_id(f"button_{letter}"), 2] == pytest.approx(BUTTON_HEIGHT_M)


def test_a_button_counts_as_pressed_well_down_and_as_released_well_up():
    console = _Console("press-abac")
    assert console.press(a=0.011) == 0
    assert console.press(a=0.013) == 1
    assert console.press(a=0.007) == 1
    assert console.press(a=0.013) == 1  # still the same press: neither counted nor wrong
    assert console.press() == 1
    assert console.press(b=0.013) == 2
    assert console.judge.progress.out_of_order[0] == 0


def test_a_button_that_is_kept_down_is_not_pressed_a_second_time():
    console = _Console("press-abac")
    assert console.press(a=0.015) == 1
    assert console.press(a=0.015, b=0.015) == 2
    assert console.press(a=0.015) == 2
    assert console.press() == 2
    assert console.press(a=0.015) == 3


def test_two_buttons_pressed_at_once_spoil_the_episode():
    console = _Console("press-abac")
    console.press(a=0.015, b=0.015)
    for letter in "abac":
        console.press()
        console.press(**{letter: 0.015})
    assert not console.judge.progress.success[0]


def test_three_knocks_a_wait_and_the_way_home_succeed_at_their_times():
    progress = _perform("knock-3", knocking.script)
    done = np.array([p.stages_done[0] for p in progress])
    count = np.array([p.count[0] for p in progress])
    assert progress[-1].at_end[0]
    assert (np.diff(done) <= 1).all()
    assert (count == np.minimum(done, 3)).all()
    times = [np.argmax(done >= k) * 0.1 for k in range(1, 5)]
    rhythm = [b - a for a, b in pairwise(times)]
    assert all(0.6 < s < 1.4 for s in rhythm[:2])
    assert 2.0 < rhythm[2] < 3.0


@pytest.mark.parametrize(
    ("changes", "done", "count"),
    [
        ({"KNOCKS": 2}, 2, 2),
        ({"KNOCKS": 4}, 3, 4),
        ({"WAIT_S": (0.0, 0.0)}, 3, 3),
        ({"WAIT_S": (0.8, 0.8)}, 3, 3),
        ({"WAIT_S": (3.2, 3.2)}, 3, 3),
        ({"CLOSED": OPEN}, 0, 0),  # not with an open hand
    ],
    ids=str,
)
def test_other_counts_and_other_waits_fail(monkeypatch, changes, done, count):
    for name, value in changes.items():
        monkeypatch.setattr(knocking, name, value)
    last = _perform("knock-3", knocking.script)[-1]
    assert last.stages_done[0] == done
    assert last.count[0] == count
    assert not last.success[0]
    assert not last.at_end[0]


def test_knocks_beside_the_mark_do_not_count(monkeypatch):
    monkeypatch.setattr(knocking, "position", lambda v, b: np.add(position(v, b), [0.1, 0, 0]))
    monkeypatch.setattr(knocking, "KNOCK_RADIUS_M", 0.20)
    last = _perform("knock-3", knocking.script)[-1]
    assert last.count[0] == 0
    assert last.stages_done[0] == 0


def test_a_hand_that_stays_down_knocks_once(monkeypatch):
    monkeypatch.setattr(knocking, "HOVER_M", 0.010)  # it slides and bounces, but is never raised
    last = _perform("knock-3", knocking.script)[-1]
    assert last.count[0] == 1
    assert not last.success[0]
