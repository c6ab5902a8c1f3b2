"""Disturbances of a demonstration: what is executed in place of the label."""

import numpy as np
import pytest

from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess

DT = 0.1


def executed(disturbance, grippers, seed=0):
    """The gripper's commands that are executed where these are wanted, and which steps count."""
    process = DisturbanceProcess(disturbance, seed, DT, lambda _: False)
    done, disturbed = [], []
    for gripper in grippers:
        label = np.append(np.zeros(9), gripper)
        done.append(process.apply(label, {})[-1])
        disturbed.append(process.disturbed)
        assert label[-1] == gripper  # the label stays what it was
    return np.array(done), np.array(disturbed)


def calm(**changes):
    """No bursts."""
    return Disturbance(rate_hz=0.0, at_start=0.0, **changes)


def test_the_gripper_is_spared_unless_asked_for():
    wanted = np.repeat([1.0, -1.0, 1.0], 30)
    done, disturbed = executed(calm(), wanted)
    assert done.tolist() == wanted.tolist()
    assert not disturbed.any()


@pytest.mark.parametrize("seed", range(5))
def test_a_late_grip_stays_open_for_a_while_and_then_closes(seed):
    wanted = np.repeat([1.0, -1.0], 30)
    done, disturbed = executed(calm(late_grips=1.0), wanted, seed)
    open_s = (done[30:] > 0).sum() * DT
    low, high = Disturbance().late_s
    assert low - DT <= open_s <= high + DT
    assert (np.diff(done[30:]) != 0).sum() == 1  # it closes, and stays closed
    assert not disturbed[:30].any()
    assert disturbed[done != wanted].all()


def test_a_gripper_that_is_opened_meanwhile_obeys():
    wanted = np.array([1.0] * 5 + [-1.0] * 2 + [1.0] * 20 + [-1.0])
    done, _ = executed(calm(late_grips=1.0), wanted)
    assert (done[:27] > 0).all()


def test_without_late_grips_nothing_else_is_drawn():
    """Equal sessions record equal episodes, also those of earlier versions."""
    processes = [DisturbanceProcess(Disturbance(), 3, DT, lambda _: False) for _ in range(2)]
    closing, opening = np.append(np.zeros(9), -1.0), np.append(np.zeros(9), 1.0)
    for step in range(100):
        label = opening if step % 20 < 10 else closing
        one, other = processes[0].apply(label, {}), processes[1].apply(opening, {})
        assert np.array_equal(one[:-1], other[:-1])
