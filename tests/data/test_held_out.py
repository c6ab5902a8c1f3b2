"""Demonstrations in parts: what is left out is never learned from, and each has its turn."""

import numpy as np
import pytest
import torch

from vand_envs.errors import VandError
from vand_robot.data.batches import BatchStream, EpisodeBuffer
from vand_robot.data.held_out import HeldOutParts

TASKS = ["wipe"] * 10 + ["stir"] * 4


def buffer(tasks):
    """Episodes of two steps whose observation is their number."""
    count = len(tasks)
    observations = [np.full((2, 1), i, np.float32) for i in range(count)]
    return EpisodeBuffer.of(observations, [np.zeros((2, 1), np.float32)] * count, tasks)


def members(view):
    return {task: set(group.tolist()) for task, group in view.groups.items()}


def test_a_fifth_of_each_task_is_left_out_and_the_rest_is_learned():
    parts = HeldOutParts.of(buffer(TASKS), 0.2, None, seed=3)
    out, learned = members(parts.left_out(1)), members(parts.learned(1))
    assert {task: len(group) for task, group in out.items()} == {"stir": 1, "wipe": 2}
    for task, group in members(parts.whole).items():
        assert out[task] | learned[task] == group
        assert not out[task] & learned[task]
    assert members(parts.left_out(999)) == out  # the same from the first update to the last
    assert members(HeldOutParts.of(buffer(TASKS), 0.2, None, seed=3).left_out(1)) == out


def test_with_rotation_every_demonstration_has_its_turn():
    parts = HeldOutParts.of(buffer(TASKS), 0.2, 10, seed=0)
    turns = [members(parts.left_out(update)) for update in (1, 11, 21, 31, 41)]
    assert members(parts.left_out(10)) == turns[0] != turns[1]
    assert sorted(i for turn in turns for i in turn["wipe"]) == list(range(10))
    assert {i for turn in turns for i in turn["stir"]} == {10, 11, 12, 13}


def test_batches_of_the_weights_hold_nothing_that_is_left_out():
    parts = HeldOutParts.of(buffer(TASKS), 0.2, 5, seed=1)
    stream = BatchStream(parts.learned, 6, 0, 20)
    for update in range(1, 21):
        out = set().union(*members(parts.left_out(update)).values())
        drawn = set(stream.batch(update).observations[0, :, 0].long().tolist())
        held = parts.batch(update, 6).observations[0, :, 0].long().tolist()
        assert not drawn & out
        assert sorted(held) == sorted(out)
    assert torch.equal(parts.batch(7, 2).observations, parts.batch(7, 2).observations)


def test_one_demonstration_cannot_be_learned_from_and_left_out():
    with pytest.raises(VandError, match=r"expected 2 demonstrations of task 'stir'.*got 1"):
        HeldOutParts.of(buffer(["wipe", "wipe", "stir"]), 0.2, None, seed=0)
