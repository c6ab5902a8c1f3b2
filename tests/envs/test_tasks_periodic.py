"""Wiping, stirring and driving round in circles: what the judge counts, and what it refuses."""

from functools import partial

import numpy as np
import pytest

from vand_demos.experts import Disturbance, patrol, stir, wipe, wipe_4
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.experts.expert import Expert
from vand_demos.experts.skills import DOCK, OPEN, drive, raise_hand, rest
from vand_envs import VANDER, TaskBatch, get_task
from vand_envs.judging import CycleCounter
from vand_robot.evaluation.reference import reference_from_episodes
from vand_robot.metrics.periodic import score_periodic

ENDLESS = (1e3, 1e3 + 1)
"""A number of turns that no run reaches."""
KEYS = ("base_pose", "ee_rot", "board_rel", "pot_rel")
"""All that the three phase planes are made of."""


def _run(task_id, script, steps, seeds=(1000,), dt=0.1):
    """Run a script; the batch, and observations (T + 1, n, .) of every step."""
    batch = TaskBatch(task_id, len(seeds), control_dt_s=dt)
    experts = [Expert(script, seed, dt) for seed in seeds]
    views = [batch.reset(seeds)]
    for _ in range(steps):
        robots = [{key: value[i] for key, value in views[-1].items()} for i in range(batch.n)]
        answers = [expert.act(robot) for expert, robot in zip(experts, robots, strict=True)]
        if all(answer is None for answer in answers):
            break
        idle = np.zeros(batch.action_size)
        views.append(batch.step(np.array([idle if a is None else a for a in answers], np.float32)))
    return batch, {key: np.stack([view[key] for view in views]) for key in KEYS}


def _wiping_in_parts(*parts):
    """A script that wipes so many circles, lifts the hand, wipes again, ..., and goes home."""

    def script(motion, view):
        wiping = wipe.Wiping.draw(motion, view)
        for turns in parts:
            view = yield from wipe.wipe(motion, view, wiping, turns)
            view = yield from raise_hand(motion, view, wiping.stand)
        view = yield from drive(motion, view, DOCK, gripper=OPEN, within=(0.05, 0.06))
        return (yield from rest(motion, view, DOCK, gripper=OPEN, duration_s=1.0))

    return script


@pytest.mark.parametrize(
    ("parts", "success"),
    [
        ((3.05,), False),
        ((4.05,), True),
        ((5.05,), False),
        ((2.05, 2.05), True),
        ((2.1, 3.0), False),
    ],
)
def test_four_circles_and_no_other_number_are_right(parts, success):
    batch, _ = _run("wipe-4", _wiping_in_parts(*parts), 500)
    progress = batch.progress
    assert progress.count[0] == pytest.approx(sum(parts), abs=0.15)
    assert bool(progress.success[0] & progress.at_end[0]) == success


def test_wiping_on_after_coming_home_spoils_the_end():
    def script(motion, view):
        view = yield from wipe_4.script(motion, view)
        return (yield from wipe.script(motion, view, (1.0, 1.1)))

    progress = _run("wipe-4", script, 600)[0].progress
    assert progress.success[0]
    assert not progress.at_end[0]


def test_four_circles_without_going_home_are_no_success():
    batch, _ = _run("wipe-4", partial(wipe.script, turns=(4.05, 4.1)), 400)
    assert batch.progress.stages_done[0] == 4
    assert not batch.progress.success[0]


def test_wipe_and_wipe_4_are_the_same_until_the_fourth_circle_is_complete():
    wiping, counting = (next(demonstrate(t, [7], parallel=1)) for t in ("wipe", "wipe-4"))
    fourth = int(np.flatnonzero(counting.rewards)[3])
    for key, value in counting.observations.items():
        if key != "instruction":
            assert np.array_equal(value[:fourth], wiping.observations[key][:fourth]), key
    assert np.array_equal(counting.actions[:fourth], wiping.actions[:fourth])


def test_the_count_agrees_with_the_true_winding_in_disturbed_demonstrations():
    """The true one also has the parts of arcs that begin or end between two observations."""
    cycle = get_task("wipe-4").cycle
    episodes = demonstrate("wipe-4", range(3000, 3008), disturbance=Disturbance(), parallel=8)
    for episode in (e for e in episodes if e.success):
        views = episode.observations
        x, y = cycle.phase_plane(views, VANDER).T
        steps = np.diff(np.unwrap(np.arctan2(y, x))) / (2 * np.pi)
        touching = cycle.valid(views, VANDER).astype(float)
        winding = CycleCounter(cycle, VANDER, 1)
        winding.reset(np.array([0]), {key: value[:1] for key, value in views.items()})
        for t in range(1, len(episode)):
            winding.follow({key: value[t : t + 1] for key, value in views.items()})
        true = float(steps @ (touching[:-1] + touching[1:]) / 2)
        assert winding.cycles[0] == pytest.approx(true, abs=0.25)
        assert 3.99 < winding.cycles[0] < 4.35


def test_stirring_the_wrong_way_or_along_the_wall_or_above_the_soup_winds_nothing(monkeypatch):
    task = get_task("stir")

    def cycles(**constants):
        with monkeypatch.context() as patch:
            for name, value in constants.items():
                patch.setattr(stir, name, value)
            return _run("stir", partial(stir.script, turns=ENDLESS), 150)[0].progress.cycles[0]

    assert cycles() > task.cycle.min_cycles
    assert cycles(FREQUENCY_HZ=-stir.FREQUENCY_HZ) < -task.cycle.min_cycles
    assert cycles(RADIUS_M=0.115) < 0.5
    assert cycles(DEPTH_M=0.11) == 0


@pytest.mark.parametrize(
    ("sides", "eights"), [((1, -1), 2), ((1,), 0), ((-1,), 0), ((1, 1, 1, -1), 1)]
)
def test_a_figure_of_eight_needs_both_loops(sides, eights):
    script = partial(patrol.script, eights=ENDLESS, sides=sides)
    cycles = _run("patrol", script, 350)[0].progress.cycles[0]
    assert cycles == pytest.approx(eights, abs=0.35)


def test_figures_of_eight_with_a_loop_left_out_or_without_one_fail_the_score():
    episodes = demonstrate("patrol", range(20, 26), disturbance=Disturbance(), parallel=6)
    reference = reference_from_episodes("patrol", [e for e in episodes if e.success]).cycle
    cycle = get_task("patrol").cycle
    for sides, success in (((1, -1), True), ((1,), False), ((1, -1, 1, -1, -1), False)):
        script = partial(patrol.script, eights=ENDLESS, sides=sides)
        _, views = _run("patrol", script, 900)
        signal, valid = cycle.phase_plane(views, VANDER)[:, 0], cycle.valid(views, VANDER)[:, 0]
        assert score_periodic(signal, 0.1, reference, valid=valid).success == success, sides
        if success:
            signal[500:] = signal[500]
            assert not score_periodic(signal, 0.1, reference, valid=valid).success


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_id", "script"), [("wipe", wipe), ("stir", stir), ("patrol", patrol)]
)
def test_experts_pass_over_three_times_the_length_of_disturbed_demonstrations(task_id, script):
    episodes = demonstrate(task_id, range(8), disturbance=Disturbance(), parallel=8)
    task_reference = reference_from_episodes(task_id, [e for e in episodes if e.success])
    batch, views = _run(
        task_id,
        partial(script.script, **{"eights" if task_id == "patrol" else "turns": ENDLESS}),
        3 * task_reference.median_steps,
        seeds=(1000, 1001, 1002),
    )
    signal, valid = (
        batch.task.cycle.phase_plane(views, VANDER),
        batch.task.cycle.valid(views, VANDER),
    )
    for i in range(batch.n):
        score = score_periodic(signal[:, i], 0.1, task_reference.cycle, valid=valid[:, i])
        assert score.failures == (), score
        assert score.frequency_error < 0.09
        assert score.amplitude_error < 0.12
