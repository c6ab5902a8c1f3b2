"""Demonstrations in which the instruction changes on the way."""

import numpy as np
import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from vand_demos import DemoDataset, Episode, check_file, write_dataset
from vand_demos.episode import EpisodeError
from vand_demos.experts import Disturbance
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.recording import record
from vand_demos.sessions import episodes_missing
from vand_demos.storage.describe import describe
from vand_demos.storage.editing import merge, split
from vand_demos.storage.layout import FORMAT_VERSION
from vand_demos.switching import SWITCH_SHARE, can_switch, require_switchable, switch_step
from vand_demos.verify import resimulate, restore
from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.errors import UsageError, VandError
from vand_robot.evaluation.perturbations import InstructionSwitch
from vand_robot.evaluation.reference import reference_from_episodes
from vand_robot.viewer.recorded_episodes import RecordedEpisodes

SEED = 4
"""A start at which the instruction changes early."""
TOLD = np.array([0, 0, 0, 1, 1, 1, 1], np.int64)
"""Tasks of seven steps: three of stow-cube, then wipe."""


@pytest.fixture(scope="module")
def switched() -> Episode:
    """Stirring, then wiping, disturbed on the way."""
    seeds = [SEED]
    return next(demonstrate("wipe", seeds, first="stir", disturbance=Disturbance(), parallel=1))


@pytest.fixture(scope="module")
def path(switched, tmp_path_factory):
    """A data set of it, recorded as session 0 would."""
    path = tmp_path_factory.mktemp("switched") / "set.hdf5"
    write_dataset(path, [switched], TaskBatch("wipe", 1).env_args)
    return path


def test_the_second_task_is_judged_and_each_step_says_what_was_told(switched):
    stir, wipe = (task_ids().index(task) for task in ("stir", "wipe"))
    change = switch_step(get_task("stir"), SEED, switched.control_dt_s)
    assert (switched.task, switched.success) == ("wipe", True)
    assert switched.step_tasks.tolist() == [stir] * change + [wipe] * (len(switched) - change)
    told = switched.observations["instruction"].argmax(axis=1)
    assert told.tolist() == switched.step_tasks.tolist()
    assert not switched.rewards[:change].any()
    assert switched.rewards[change:].sum() >= get_task("wipe").cycle.min_cycles


def test_the_hand_leaves_the_pot_before_the_base_leaves_its_place(switched):
    change = np.flatnonzero(np.diff(switched.step_tasks))[0] + 1
    pose, height = switched.observations["base_pose"], switched.observations["ee_pos"][:, 2]
    moved = np.linalg.norm(pose[change:, :2] - pose[change, :2], axis=1)
    leaves = change + int(np.argmax(moved > 0.10))
    assert height[leaves] > height[change] + 0.05


def test_the_moment_is_drawn_around_the_half_as_an_evaluation_changes_the_instruction():
    task, dt = get_task("stir"), 0.1
    shares = [switch_step(task, seed, dt) * dt / task.horizon_s for seed in range(400)]
    low, high = SWITCH_SHARE
    assert low - dt / task.horizon_s <= min(shares) < max(shares) <= high + dt / task.horizon_s
    spread = (high - low) / np.sqrt(12 * len(shares))  # standard error of the mean of a uniform
    assert abs(np.mean(shares) - InstructionSwitch().after) < 4 * spread


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("wipe", "wipe", "another task"),
        ("drawer-stow", "stow-cube", "drawer-stow to stow-cube is not offered: .*drawer"),
        ("wipe", "stirr", "did you mean 'stir'"),
    ],
)
def test_pairs_that_cannot_follow_each_other_are_refused(first, second, reason, tmp_path):
    with pytest.raises(UsageError, match=reason):
        require_switchable(first, second)
    with pytest.raises(UsageError, match=reason):
        record(first, tmp_path / "no.hdf5", episodes=1, switch_to=second)
    assert not can_switch(first, second) or second not in task_ids()
    assert not (tmp_path / "no.hdf5").exists()


def test_a_cube_that_is_carried_stays_in_the_hand_of_who_needs_it_alone():
    """The seed's change comes while stow-cube carries the cube from the tray to the bin."""
    seed = 3
    for second, keeps in (("drawer-stow", True), ("wipe", False)):
        shown = next(demonstrate(second, [seed], first="stow-cube", parallel=1))
        change = int(np.flatnonzero(np.diff(shown.step_tasks))[0]) + 1
        gap = np.linalg.norm(shown.observations["cube_rel"], axis=1)
        assert gap[change] < 0.05
        assert (gap[change + 15] < 0.05) == keeps
        assert shown.success


def test_a_data_set_tells_what_was_told_and_is_sound(path, switched):
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        assert dataset.told("demo_0") == ("stir", "wipe")
        assert dataset.file.attrs["format_version"] == FORMAT_VERSION == 2
        assert np.array_equal(dataset.episode("demo_0").step_tasks, switched.step_tasks)
    assert describe(path)["changes"] == [{"tasks": ["stir", "wipe"], "episodes": 1}]
    frames = RecordedEpisodes(path).frames
    assert [frame.task for frame in frames] == [task_ids()[index] for index in switched.step_tasks]


def test_it_can_be_verified_as_any_other(switched):
    assert restore(switched).exact
    assert resimulate(switched, "controls").exact


def test_a_session_counts_its_own_pair_alone(path):
    assert episodes_missing(path, "wipe", episodes=2) == 2
    assert episodes_missing(path, "stir", episodes=2) == 2
    assert episodes_missing(path, "stir", episodes=2, switch_to="wipe") == 1
    assert episodes_missing(path, "patrol", episodes=2, switch_to="wipe") == 2


def test_a_reference_begins_where_the_task_was_told(switched):
    change = int(np.flatnonzero(np.diff(switched.step_tasks))[0]) + 1
    reference = reference_from_episodes("wipe", [switched])
    assert reference.median_steps == len(switched) - change
    whole = Episode(
        **{
            item: getattr(switched, item)
            for item in vars(switched)
            if item not in ("step_tasks", "uid", "name")
        }
    )
    assert reference_from_episodes("wipe", [whole]).median_steps == len(switched)


def test_an_added_change_makes_an_older_file_one_of_this_version(tmp_path):
    old, new, both = (tmp_path / name for name in ("old.hdf5", "new.hdf5", "both.hdf5"))
    write_dataset(old, [episode(0), episode(1)], ENV_ARGS)
    write_dataset(new, [episode(2, step_tasks=TOLD), episode(3, step_tasks=TOLD)], ENV_ARGS)
    merge(both, [old, new])
    split(both, 0.5)
    with DemoDataset.open(both) as dataset:
        told = {name: dataset.told(name) for name in dataset.names}
        assert list(told.values()) == [("wipe",)] * 2 + [("stow-cube", "wipe")] * 2
        assert len({told[name] for name in dataset.split("valid")}) == 2  # of each kind


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (TOLD[:-1], "expected 7 steps"),
        (TOLD.astype(np.float32), "expected int64"),
        (TOLD - 1, "expected 0 or more"),
    ],
)
def test_tasks_of_steps_that_make_no_sense_are_refused(told, reason):
    with pytest.raises(EpisodeError, match=f"step_tasks.*{reason}"):
        episode(0, step_tasks=told)


def test_tasks_of_steps_must_be_those_that_were_observed(switched):
    other = switched.step_tasks.copy()
    other[0] = other[-1]
    with pytest.raises(EpisodeError, match=r"step_tasks\[0\] = \d differs from obs/instruction"):
        Episode(**{**vars(switched), "step_tasks": other})


@pytest.mark.parametrize(
    ("told", "reason"),
    [(TOLD + 1, "expected less than 2"), (1 - TOLD, "expected the episode's task 'wipe' at the")],
)
def test_tasks_of_steps_must_fit_the_data_set(told, reason, tmp_path):
    with pytest.raises(VandError, match=reason):
        write_dataset(tmp_path / "a.hdf5", [episode(0, step_tasks=told)], ENV_ARGS)


@pytest.mark.slow
@pytest.mark.parametrize("second", task_ids())
def test_experts_take_over_from_one_another(second):
    for first in task_ids():
        if can_switch(first, second):
            shown = list(demonstrate(second, range(4), first=first, parallel=4))
            assert sum(episode.success for episode in shown) >= 3, first
