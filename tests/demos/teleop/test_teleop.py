"""Driving by hand: episodes, the loop that keeps time, what is kept whatever happens."""

import multiprocessing
import multiprocessing.forkserver
import os
import random
import sys
import time
import tracemalloc
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from tests.helpers.teleop import (
    FORWARD,
    STILL,
    TASK,
    command,
    perform,
    record_sessions,
    start_drive,
)
from vand_demos import DemoDataset, Recorder, check_file, repair
from vand_demos.recording import record
from vand_demos.storage.layout import parts_folder
from vand_demos.teleop import Command, DeviceOptions, FrameClock, open_device, run
from vand_demos.teleop import session as session_module
from vand_demos.teleop.gizmo import pull, rotation_between
from vand_demos.ui.frames import PoseInterpolator
from vand_envs import TaskBatch
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import VANDER
from vand_envs.world import make_world

KILLS = (5, pytest.param(50, marks=pytest.mark.slow))


def press(*events):
    return Command(events=events)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.hdf5"


@pytest.fixture
def recorder(path):
    with Recorder(path, TaskBatch(TASK, 1).env_args) as recorder:
        yield recorder


@pytest.fixture
def drive(recorder):
    return start_drive(recorder, keep_failures=True)


def go(drive, *commands):
    for one in commands:
        drive.follow(one)
    return drive


def test_an_episode_that_is_done_is_saved_as_it_was_driven(recorder, path):
    drive = start_drive(recorder, seed=3)
    perform(drive, 3)
    status = drive.status()
    assert status.success
    assert status.next_step.startswith("Done.")
    assert status.stages_done == len(status.stage_names)
    go(drive, press("save"))
    assert drive.status().saved == 1
    recorder.close()
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        (episode,) = dataset
    assert (episode.seed, episode.success, episode.device) == (3, True, "web")
    batch = TaskBatch(TASK, 1)
    batch.reset([3])
    for action, state in zip(episode.actions, episode.states, strict=True):
        np.testing.assert_array_equal(batch.state[0], state)
        batch.step(action[None])
    assert batch.progress.success[0]


def test_an_episode_that_is_not_done_is_not_saved(recorder):
    drive = go(start_drive(recorder), press("start"), *[FORWARD] * 3, press("save"))
    assert "not done yet" in drive.status().message
    assert drive.phase == "paused"
    assert len(recorder) == 0
    go(drive, replace(FORWARD, events=("start",)))
    assert drive.time_s == pytest.approx(0.4)


def test_failures_are_saved_as_such_when_wanted(drive, recorder, path):
    go(drive, press("start"), *[FORWARD] * 3, press("save"))
    recorder.close()
    with DemoDataset.open(path) as dataset:
        assert not dataset.attribute("demo_0", "success")


def test_standing_still_before_and_after_is_not_recorded(drive, recorder, path):
    go(drive, press("start"), *[STILL] * 7, *[FORWARD] * 3, STILL, FORWARD, *[STILL] * 9)
    go(drive, press("save"))
    recorder.close()
    with DemoDataset.open(path) as dataset:
        actions = dataset.episode("demo_0").actions
    assert len(actions) == 5
    assert np.any(actions[:, :9], axis=1).tolist() == [True, True, True, False, True]


def test_what_is_undone_before_the_verdict_is_cut_off(recorder, path):
    drive = start_drive(recorder, seed=3)
    perform(drive, 3)
    done = drive.time_s
    go(drive, *[FORWARD] * 30)
    assert not drive.batch.progress.at_end[0]
    assert drive.status().success
    go(drive, press("save"))
    recorder.close()
    with DemoDataset.open(path) as dataset:
        (episode,) = dataset
    assert episode.success
    assert done - 1.0 < len(episode) * 0.1 <= done + 1.0


def test_a_hair_the_wrong_way_round_is_not_minus_nothing(drive):
    status = replace(drive.status(), cycle_name="circle", cycles=-0.02, cycles_needed=3)
    assert status.wound == "0.0 of 3"
    assert replace(status, cycles=-0.6).wound == "-0.6 of 3"
    assert replace(status, cycles=3.04).wound == "3.0 of 3"


def test_nothing_moves_before_start_and_in_a_pause(drive):
    before = drive.batch.state.copy()
    go(drive, *[FORWARD] * 3)
    np.testing.assert_array_equal(drive.batch.state, before)
    go(drive, press("start"), FORWARD, press("start"))
    assert drive.phase == "paused"
    before = drive.batch.state.copy()
    go(drive, *[FORWARD] * 3)
    np.testing.assert_array_equal(drive.batch.state, before)


def test_controls_that_are_gone_stop_the_robot_and_keep_the_episode(drive, recorder):
    go(drive, press("start"), *[FORWARD] * 3, Command(present=False))
    assert drive.phase == "paused"
    assert "stopped" in drive.status().message
    before = drive.batch.state.copy()
    go(drive, Command(present=False), FORWARD)
    np.testing.assert_array_equal(drive.batch.state, before)
    go(drive, replace(FORWARD, events=("start",)), press("save"))
    assert recorder.saved == 1
    assert recorder.steps == 4


def test_states_are_a_function_of_seed_and_commands_alone(recorder):
    commands = [press("start"), *[FORWARD] * 5, *[STILL] * 2, *[FORWARD] * 3]
    smooth, rough = (start_drive(recorder, seed=9) for _ in range(2))
    go(smooth, *commands)

    class Late:
        """A person with pauses, whose pictures take longer than there is time for."""

        def __init__(self):
            self.clock, self.shown = 0.0, 0
            self.rng = random.Random(0)
            halts = [press("start"), STILL, Command(present=False)]
            going_on = replace(commands[4], events=("start",))
            self.commands = iter([*commands[:4], *halts, going_on, *commands[5:]])

        def read(self):
            return next(self.commands, press("quit"))

        def show(self, status, pose):
            self.shown += 1
            pose.qpos[:] = 0.0  # a device may do with it what it likes
            self.clock += self.rng.choice([0.001, 0.03, 0.2, 0.5])

        def sleep(self, duration):
            self.clock += duration * self.rng.choice([1.0, 1.5, 3.0])

    late = Late()
    timing = FrameClock(0.1 / 3, clock=lambda: late.clock, sleep=late.sleep)
    with pytest.raises(StopIteration):
        run_until(rough, late, timing, len(commands) + 3)
    np.testing.assert_array_equal(smooth.batch.state, rough.batch.state)
    assert late.shown < 3 * (len(commands) + 3)  # pictures were left out


def run_until(drive, device, timing, reads):
    """Runs the loop for so many control steps."""
    left = iter(range(reads))
    read = device.read

    def counted():
        next(left)
        return read()

    device.read = counted
    run(drive, device, timing)


def test_deadlines_do_not_drift_and_a_long_halt_is_not_made_up_for():
    clock = [0.0]

    def sleep(duration):
        clock[0] += duration + 0.002  # the system wakes us a little late

    timing = FrameClock(0.1, clock=lambda: clock[0], sleep=sleep)
    for _ in range(1000):
        clock[0] += 0.03
        assert timing.wait()
    assert clock[0] == pytest.approx(100.0, abs=0.01)
    clock[0] += 5.0
    assert not timing.wait()
    assert timing.wait()
    assert clock[0] == pytest.approx(105.1, abs=0.02)


def test_pictures_lie_between_the_states_and_end_in_the_last(drive):
    go(drive, press("start"), *[FORWARD] * 4)
    between = PoseInterpolator(drive.batch.model)
    first, half, last = (
        between.at(drive.before, drive.after, part).qpos.copy() for part in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(last, drive.batch.qpos[0], atol=1e-12)
    assert first[0] < half[0] < last[0]
    assert half[0] == pytest.approx((first[0] + last[0]) / 2)


def test_discard_goes_on_to_another_start_and_reset_to_the_same(drive):
    start = drive.batch.state.copy()
    go(drive, press("start"), *[FORWARD] * 3, press("reset"))
    np.testing.assert_array_equal(drive.batch.state, start)
    go(drive, press("start"), FORWARD, press("discard"))
    assert not np.array_equal(drive.batch.state, start)
    assert drive.phase == "ready"
    assert drive.attempts == 2


def test_undo_takes_the_last_saved_episode_off_the_disk(drive, recorder, path):
    for _ in range(2):
        go(drive, press("start"), *[FORWARD] * 3, press("save"))
    parts = set(parts_folder(path).glob("*.hdf5"))
    go(drive, press("undo"))
    assert len(parts - set(parts_folder(path).glob("*.hdf5"))) == 1
    assert "1 are left" in drive.status().message
    go(drive, press("start"), *[FORWARD] * 3, press("save"))
    recorder.close()
    with DemoDataset.open(path) as dataset:
        assert [episode.seed for episode in dataset] == [0, 2]


def test_undo_leaves_other_days_alone_and_says_so(drive, recorder, path):
    go(drive, press("start"), *[FORWARD] * 3, press("save"))
    recorder.close()
    with Recorder(path, recorder.env_args, resume=True) as another_day:
        later = start_drive(another_day)
        go(later, press("undo"))
        assert "nothing to undo" in later.status().message
        assert len(another_day) == 1


def test_an_undone_first_episode_leaves_nothing_behind(drive, recorder, path):
    go(drive, press("start"), *[FORWARD] * 3, press("save"), press("undo"))
    recorder.close()
    assert list(path.parent.iterdir()) == []


def test_quitting_asks_once_while_an_episode_is_unsaved(drive):
    go(drive, press("start"), FORWARD, press("quit"))
    assert not drive.finished
    assert "not saved" in drive.status().message
    go(drive, press("start"), FORWARD, press("quit"))
    assert not drive.finished
    assert go(drive, press("quit")).finished


def test_quitting_between_episodes_is_done_at_once(drive):
    assert go(drive, press("quit")).finished


def test_a_command_never_exceeds_the_speed_limit(recorder):
    drive = start_drive(recorder, speed_limit=0.25, keep_failures=True)
    wild = command([5, -5, 1, 1, -1, 1, 1, -3, 1, 4])
    np.testing.assert_allclose(np.abs(wild.action(0.25)), [0.25] * 9 + [1.0])
    slow = command([1] * 10, speed=0.1)
    np.testing.assert_allclose(slow.action(0.25), [0.1] * 9 + [1.0])
    go(drive, press("start"), wild)
    assert np.abs(drive.batch.simulation.qvel[0, drive.batch.simulation.base_dofs]).max() < 0.3


def test_an_episode_that_was_forgotten_is_paused(drive, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_EPISODE_S", 0.5)
    go(drive, press("start"), *[FORWARD] * 9)
    assert drive.time_s == pytest.approx(0.5)
    assert drive.phase == "paused"
    go(drive, press("start"), FORWARD)
    assert "cannot go on" in drive.status().message
    assert drive.time_s == pytest.approx(0.5)


def test_a_full_disk_costs_no_episode(drive, recorder, monkeypatch):
    def full(path, content):
        raise VandError(f"cannot write {path}: the disk is full")

    go(drive, press("start"), *[FORWARD] * 3)
    with monkeypatch.context() as patch:
        patch.setattr("vand_demos.storage.recorder.write_bytes", full)
        go(drive, press("save"))
    assert "the disk is full" in drive.status().message
    go(drive, press("save"))
    assert recorder.saved == 1


def test_memory_does_not_grow_with_the_number_of_episodes(drive):
    def episodes(number):
        for _ in range(number):
            go(drive, press("start"), *[FORWARD] * 20, press("discard"))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = episodes(3)
        grown = episodes(12) - first
    finally:
        tracemalloc.stop()
    assert grown < 20e3  # one episode of this length holds some 60 kB


class Puppet:
    """A device that plays a list of commands, and then does what it is told."""

    def __init__(self, commands, then):
        self._commands, self._then = iter(commands), then
        self.closed = False

    def read(self):
        one = next(self._commands, None)
        return self._then() if one is None else one

    def show(self, status, pose):
        pass

    def close(self):
        self.closed = True


def interrupt():
    raise KeyboardInterrupt


def test_a_session_is_recorded_and_gone_on_with_another_day(path):
    episode = [press("start"), *[FORWARD] * 3, press("save")]
    options = {"episodes": 2, "session": 4, "device": "gamepad", "keep_failures": True}
    puppet = Puppet([*episode, *episode], lambda: press("quit"))
    report = record(TASK, path, connect=lambda world: puppet, **options)
    assert puppet.closed
    assert (report.recorded, report.attempts, report.steps, report.interrupted) == (2, 2, 6, False)
    again = Puppet([*episode], lambda: press("quit"))
    report = record(TASK, path, connect=lambda world: again, resume=True, **options)
    assert (report.recorded, report.total) == (1, 3)
    with DemoDataset.open(path) as dataset:
        assert [episode.seed for episode in dataset] == [40_000, 40_001, 40_002]
        assert {episode.device for episode in dataset} == {"gamepad"}


def test_ctrl_c_keeps_what_was_saved_and_says_how_much(path):
    puppet = Puppet([press("start"), *[FORWARD] * 3, press("save"), press("start")], interrupt)
    report = record(
        TASK,
        path,
        episodes=5,
        device="keyboard",
        connect=lambda world: puppet,
        keep_failures=True,
    )
    assert puppet.closed
    assert (report.recorded, report.total, report.interrupted) == (1, 1, True)
    assert check_file(path) == []


def test_joint_actions_are_recorded_where_they_are_asked_for(path):
    puppet = Puppet([press("start"), *[FORWARD] * 3, press("save")], lambda: press("quit"))
    record(
        TASK,
        path,
        episodes=1,
        device="web",
        connect=lambda world: puppet,
        keep_failures=True,
        action_mode="joint",
    )
    with DemoDataset.open(path) as dataset:
        assert dataset.episode("demo_0").actions.shape == (3, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "web"}, "device 'web'"),
        ({"device": "webb"}, "did you mean 'web'"),
        ({"device": "web", "connect": lambda world: None, "speed_limit": 0.0}, "speed: expected"),
    ],
)
def test_mistakes_in_a_session_are_usage_errors(path, options, message):
    with pytest.raises(UsageError, match=message):
        record(TASK, path, episodes=1, **options)
    assert not path.parent.joinpath("set.hdf5.parts").exists()


def test_an_unknown_device_is_named():
    with pytest.raises(UsageError, match=r"unknown device 'joystick'.*known: web"):
        open_device("joystick", DeviceOptions(make_world()))


def test_the_hand_is_pulled_to_the_gizmo_and_no_faster_than_it_may():
    near, turn = pull(VANDER, np.array([0.0, 0.01, 0.0]), np.zeros(3), yaw=np.pi / 2)
    np.testing.assert_allclose(near, [0.08, 0.0, 0.0], atol=1e-12)  # what is left is ahead now
    assert turn == (0.0, 0.0, 0.0)
    far, turn = pull(VANDER, np.array([3.0, -4.0, 0.0]), np.array([0.0, 0.0, 9.0]), yaw=0.0)
    np.testing.assert_allclose(far, [0.6, -0.8, 0.0])
    np.testing.assert_allclose(turn, [0.0, 0.0, 1.0])


def test_rotations_between_orientations_are_in_world_axes():
    start, end, turn = (np.empty(4) for _ in range(3))
    mujoco.mju_axisAngle2Quat(start, np.array([1.0, 0.0, 0.0]), 0.7)
    mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0.0, 1.0]), 0.3)
    mujoco.mju_mulQuat(end, turn, start)
    np.testing.assert_allclose(rotation_between(start, end), [0.0, 0.0, 0.3], atol=1e-12)


@pytest.fixture(scope="module")
def processes():
    """Starts processes quickly: a server that has imported everything forks them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.helpers.teleop"])
        multiprocessing.forkserver.ensure_running()
    return context


@pytest.mark.parametrize("wanted", KILLS)
def test_what_was_saved_is_safe_whenever_a_session_is_killed(path, tmp_path, processes, wanted):
    rng = random.Random(1)
    noted = tmp_path / "noted"
    noted.touch()
    left_parts = 0
    kills = 0
    while kills < wanted or (kills < 10 * wanted and not left_parts):
        kills += 1
        size = noted.stat().st_size
        child = processes.Process(target=record_sessions, args=(path, noted), daemon=True)
        child.start()
        end = time.monotonic() + 30
        while noted.stat().st_size == size:
            assert time.monotonic() < end, "the process did nothing"
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.25))
        child.kill()
        child.join()
        left_parts += any(parts_folder(path).glob("*.hdf5"))
        repair(path)
        with DemoDataset.open(path) as dataset:
            uids = {dataset.attribute(name, "uid") for name in dataset.names}
            assert len(uids) == len(dataset)
        lines = noted.read_text().split()
        undone = {line[1:] for line in lines if line[0] == "-"}
        assert {line[1:] for line in lines if line[0] == "+"} - undone <= uids
        assert not {line[1:] for line in lines if line[0] == "x"} & uids
    assert left_parts  # else no kill came at a bad moment, and nothing was tested
    assert check_file(path) == []
