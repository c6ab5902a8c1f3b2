"""What `vand-robot replay` writes of a recorded demonstration."""

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_demos.session import record
from vand_envs import get_task
from vand_envs.errors import UsageError, VandError
from vand_robot.replay import demonstration_motion


def test_a_demonstration_is_its_states_with_the_last_stage_done_as_caption(demos):
    motion = demonstration_motion(demos, "stow-cube", "demo_2")
    with DemoDataset.open(demos) as dataset:
        demo = dataset.episode("demo_2")
    np.testing.assert_array_equal(motion.path, demo.states)
    assert motion.dt == demo.control_dt_s
    assert motion.title == f"demos.hdf5 demo_2 (expert): {demo.instruction}"
    assert motion.outcome == f"success after {len(demo) * demo.control_dt_s:.1f} s"
    names = get_task("stow-cube").stage_names
    # A stage is done in the state after the step that was rewarded; the last state is not stored.
    done = np.flatnonzero(demo.rewards[:-1]) + 1
    assert motion.captions[0] == demo.instruction
    for step, name in zip(done, names, strict=False):
        assert motion.captions[step] == f"{demo.instruction} - {name}"
        assert motion.captions[step - 1] != motion.captions[step]


def test_circles_are_not_taken_for_stages(demos):
    motion = demonstration_motion(demos, "wipe", None)
    assert "demo_4" in motion.title
    assert set(motion.captions) == {get_task("wipe").instruction}


def test_the_task_of_a_named_demonstration_need_not_be_said(demos):
    assert "demo_6" in demonstration_motion(demos, None, "demo_6").title
    with pytest.raises(UsageError, match="did you mean 'demo_6'"):
        demonstration_motion(demos, None, "demo6")
    with pytest.raises(UsageError, match="unknown episode 'demo_6'"):
        demonstration_motion(demos, "stow-cube", "demo_6")


def test_a_demonstration_without_states_cannot_be_shown(tmp_path):
    path = tmp_path / "bare.hdf5"
    record("wipe", path, episodes=1, states=False)
    with pytest.raises(VandError, match="demo_0 was recorded without states"):
        demonstration_motion(path, None, None)
