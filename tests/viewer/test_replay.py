"""Pages and videos of `vand-robot replay`, and its request."""

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_demos.recording import record
from vand_envs import get_task
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation.jobs import RolloutJob
from vand_robot.evaluation.perturbations import PERTURBATIONS, FirstInstruction
from vand_robot.evaluation.target import load_target
from vand_robot.viewer.replay import demonstration_motion, job_motion


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
    assert [name for _, name in motion.marks] == list(names[: len(done)])
    assert [time for time, _ in motion.marks] == pytest.approx(demo.control_dt_s * done)


def test_captions_of_a_rhythm_name_no_stages(demos):
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


@pytest.mark.parametrize(
    ("task", "before", "at", "steps"),
    [("wipe", "stow-cube", 250, 260), ("stow-cube", "wipe", 90, 390)],
)
def test_stages_are_named_after_the_task_they_are_of(demos, task, before, at, steps):
    """Until the instruction changes, those of the first task."""
    target = load_target(demos, expert=True)
    told = FirstInstruction(before, at)
    job = RolloutJob(task, PERTURBATIONS["switch"], (TEST_SEED,), steps, told)
    motion = job_motion(target, job)
    first, then = get_task(before), get_task(task)
    assert len(motion.captions) == len(motion.path) > at
    assert motion.captions[0] == first.instruction
    assert (at * motion.dt, then.instruction) in motion.marks
    assert all(caption.startswith(first.instruction) for caption in motion.captions[:at])
    assert motion.captions[at] == then.instruction
    if first.stage_names:
        assert motion.captions[at - 1] == f"{first.instruction} - {first.stage_names[-1]}"
    else:
        names = then.stage_names
        assert motion.outcome == f"{len(names)} of {len(names)} stages done in order"
        done = motion.captions.index(f"{then.instruction} - {names[-1]}")
        assert len(motion.captions) == done + round(2.0 / motion.dt) + 1


def test_options_of_rollouts_are_refused_for_a_demonstration(demos, fails, command, tmp_path):
    out = tmp_path / "x.html"
    for option, value in (("--seconds", 2), ("--perturbation", "push"), ("--index", 7)):
        for viewer in (["--out", out], ["--viewer", "web"]):
            code, line = fails("replay", demos, option, value, *viewer)
            assert code == 2
            assert option in line
            assert str(demos) in line
    assert not out.exists()
    options = ["--task", "wipe", "--seconds", 1, "--perturbation", "push", "--index", 7]
    code, _, err = command("replay", demos, "--expert", *options, "--out", out)
    assert code == 0, err
