"""What an operator is told: the next step of every task, until the expert has done it."""

import numpy as np
import pytest

from tests.helpers.teleop import FORWARD, perform, start_drive
from vand_demos import DemoDataset, Recorder
from vand_demos.experts import make_expert
from vand_demos.teleop import Command
from vand_demos.teleop.guide import next_hint
from vand_envs import TaskBatch, task_ids


def press(*events):
    return Command(events=events)


def hints_of(task, limit):
    """The hints while the expert does a task, each once, in order; and the batch."""
    batch = TaskBatch(task, 1)
    observation = batch.reset([0])
    expert, hints = make_expert(task, 0), []
    for _ in range(limit):
        hint = next_hint(batch, observation)
        if not hints or hints[-1].text != hint.text:
            hints.append(hint)
        label = expert.act({key: value[0] for key, value in observation.items()})
        if label is None:
            break
        observation = batch.step(np.asarray(label, np.float32)[None])
    return hints, batch


@pytest.mark.parametrize("task", task_ids())
def test_every_task_has_a_next_step_until_it_is_done(task):
    hints, batch = hints_of(task, 600)
    assert batch.progress.success[0]
    texts = [hint.text for hint in hints]
    undone = texts if batch.task.kind == "periodic" else texts[:-1]
    assert all(undone), texts
    assert all(hint.target is not None for hint, text in zip(hints, texts, strict=True) if text)
    assert len(set(texts)) >= 3 or task == "patrol"


def test_wiping_is_told_from_the_dock_on():
    hints, _ = hints_of("wipe", 200)
    texts = [hint.text for hint in hints]
    assert texts[0] == "Drive to the round board"
    steps = ["Drive", "Close the gripper", "Lower", "Circle 1 of 3, counter-clockwise"]
    places = [next(i for i, t in enumerate(texts) if t.startswith(step)) for step in steps]
    assert places == sorted(places)
    assert next(hint.contact for hint in hints if hint.text.startswith("Lower")) is False
    assert all(hint.contact for hint in hints if hint.text.startswith("Circle"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.hdf5"


@pytest.fixture
def drive(path):
    with Recorder(path, TaskBatch("stow-cube", 1).env_args) as recorder:
        yield start_drive(recorder)


def test_show_me_does_the_task_from_the_present_start_and_records_nothing(drive, path):
    start = drive.batch.state.copy()
    drive.follow(press("show"))
    assert drive.phase == "showing"
    assert drive.status().next_step == "Watch. Drive to the cube on the table."
    done = steps = 0
    while drive.phase == "showing":
        drive.follow(Command())
        done, steps = max(done, drive.status().stages_done), steps + 1
    assert done == len(drive.batch.task.stage_names)
    assert steps > 50
    np.testing.assert_array_equal(drive.batch.state, start)
    assert (drive.phase, drive.attempts, drive.time_s) == ("ready", 0, 0.0)
    assert "your turn" in drive.status().message
    perform(drive, 0)
    drive.follow(press("save"))
    drive._recorder.close()
    with DemoDataset.open(path) as dataset:
        (episode,) = dataset
    assert episode.seed == 0  # the start that was shown
    assert episode.device == "web"


def test_showing_is_stopped_by_any_event_and_never_drops_an_episode(drive):
    start = drive.batch.state.copy()
    for event in ("show", "start"):
        drive.follow(press("show"))
        drive.follow(Command())
        drive.follow(press(event))
        assert drive.phase == "ready"
        np.testing.assert_array_equal(drive.batch.state, start)
    drive.follow(press("show"))
    drive.follow(press("quit"))
    assert drive.finished
    drive.finished = False
    drive.follow(press("start"))
    drive.follow(FORWARD)
    drive.follow(press("show"))
    assert drive.phase == "paused"
    assert drive.time_s > 0
    assert "Save or discard" in drive.status().message


def test_quitting_with_an_unsaved_episode_says_what_a_second_time_does(drive):
    drive.follow(press("start"))
    drive.follow(FORWARD)
    drive.follow(press("quit"))
    assert drive.status().quitting
    assert "once more: that drops it" in drive.status().message
