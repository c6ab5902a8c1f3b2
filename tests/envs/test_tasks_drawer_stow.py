"""drawer-stow refuses near misses; its expert recovers from what can go wrong."""

import numpy as np
import pytest

from vand_demos.experts import Expert, drawer_stow
from vand_demos.experts.demonstrate import demonstrate
from vand_envs import TaskBatch, get_task

TASK = get_task("drawer-stow")
INSIDE = (0.135, 0.0, -0.06)
"""A place for the cube, from the knob."""


def _from_knob(place, opening):
    """A place in the world, relative to the knob of a drawer that is open that far [m]."""
    return np.add([1.23 - opening, 1.20, 0.745], place)


def _begin(opening=0.0, cube=None, seed=0):
    """An episode that begins with the drawer open that far [m], and the cube elsewhere (3,)."""
    batch = TaskBatch(TASK.id, 1)
    batch.reset([seed])
    batch.qpos[0, batch.model.joint("drawer").qposadr[0]] = opening
    if cube is not None:
        address = batch.model.joint("cube").qposadr[0]
        batch.qpos[0, address : address + 7] = [*cube, 1, 0, 0, 0]
    batch.simulation.forward()
    return batch, batch.instruct(TASK.id)


def _finish(batch, observation, seed=0):
    """Progress after the expert has done the rest."""
    expert = Expert(drawer_stow.script, seed, batch.control_dt_s)
    for _ in range(2 * batch.horizon):
        action = expert.act({key: value[0] for key, value in observation.items()})
        if action is None:
            break
        observation = batch.step(action[None])
    return batch.progress


def test_a_drawer_that_is_not_quite_shut_is_not_closed(monkeypatch):
    for name, opening in (("PUSH_M", 0.03), ("PUSHED_M", 0.04), ("SHUT_M", 0.04)):
        monkeypatch.setattr(drawer_stow, name, opening)
    episode = next(demonstrate(TASK.id, [0], parallel=1))
    assert episode.rewards.sum() == 3
    assert not episode.success


def test_an_empty_drawer_that_is_opened_and_closed_is_not_enough():
    def script(motion, view):
        for pull, there in ((0.17, drawer_stow._open), (-0.01, drawer_stow._shut)):
            view = yield from drawer_stow._slide(motion, view, pull, there)
        return view

    episode = next(demonstrate(TASK.id, [0], script=script, parallel=1))
    assert episode.rewards.sum() == 1
    assert not episode.success


def test_a_cube_that_was_in_the_drawer_all_along_was_not_lifted():
    batch, observation = _begin(0.17, _from_knob(INSIDE, 0.17))
    progress = _finish(batch, observation)
    assert progress.stages_done.tolist() == [1]
    assert not progress.success[0]


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        (INSIDE, True),
        ((0.225, 0.09, -0.06), True),
        ((0.135, 0.0, 0.05), False),  # above it
        ((0.135, 0.118, 0.0125), False),  # on its side
        ((0.0, 0.0, -0.06), False),  # before it
        ((0.135, 0.16, -0.06), False),  # beside it
    ],
)
@pytest.mark.parametrize("opening", [0.17, 0.06])
def test_the_cube_is_in_the_drawer_inside_its_walls_and_below_its_rim(place, inside, opening):
    batch, _ = _begin(opening, _from_knob(place, opening))
    assert TASK.stages[2].holds(batch.simulation)[0] == inside


def test_a_cube_that_is_still_held_is_not_stowed_yet():
    batch, _ = _begin(0.17, _from_knob(INSIDE, 0.17))
    sim = batch.simulation
    hand = sim.site_xpos[0, sim.ee_site].copy()
    address = batch.model.joint("drawer").qposadr[0]
    assert TASK.stages[2].holds(sim)[0]
    sim.qpos[0, sim.base_qpos[:2]] += (sim.xpos[0, sim.body_id("cube")] - hand)[:2]
    sim.qpos[0, sim.arm_qpos[0]] += sim.xpos[0, sim.body_id("cube"), 2] - hand[2]
    sim.forward()
    assert sim.qpos[0, address] == pytest.approx(0.17)
    assert not TASK.stages[2].holds(sim)[0]


@pytest.mark.parametrize(
    ("opening", "cube"),
    [
        (0.09, None),  # half-open: it has to be opened further
        (0.0, (1.16, 0.80, 0.743)),  # beside the tray
        (0.17, (1.30, 0.60, 0.7485)),
    ],
)
def test_the_expert_goes_on_from_where_it_finds_things(opening, cube):
    assert _finish(*_begin(opening, cube)).at_end[0]


def test_the_expert_fetches_a_cube_that_was_taken_from_it():
    batch = TaskBatch(TASK.id, 1)
    observation = batch.reset([3])
    expert = Expert(drawer_stow.script, 3, batch.control_dt_s)
    address, taken = batch.model.joint("cube").qposadr[0], False
    for _ in range(2 * batch.horizon):
        action = expert.act({key: value[0] for key, value in observation.items()})
        if action is None:
            break
        observation = batch.step(action[None])
        if batch.progress.stages_done[0] == 2 and not taken:
            batch.qpos[0, address : address + 7] = [1.25, 0.45, 0.75, 1, 0, 0, 0]
            batch.simulation.forward()
            taken = True
    assert taken
    assert batch.progress.at_end[0]
