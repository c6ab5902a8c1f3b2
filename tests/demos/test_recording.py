"""Recording sessions."""

from contextlib import contextmanager

import numpy as np
import pytest

from vand_demos import DemoDataset, Recorder, check_file
from vand_demos.experts import Disturbance
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.recording import record, record_tasks
from vand_demos.recording_options import ExpertOptions, RecordingOptions, TeleopOptions
from vand_demos.sessions import episodes_missing
from vand_envs import TaskBatch
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import SEEDS_PER_SESSION


def test_a_session_records_the_wanted_number_of_good_episodes(demos):
    with DemoDataset.open(demos) as dataset:
        assert dataset.tasks == ("stow-cube", "wipe")
        assert len(dataset) == 8
        assert all(episode.success for episode in dataset)
    assert check_file(demos) == []


def test_equal_sessions_record_equal_episodes_and_others_do_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        record("stow-cube", tmp_path / name, episodes=2, session=seed)
    a, b, c = (DemoDataset.open(tmp_path / name) for name in "abc")
    for mine, same, other in zip(a, b, c, strict=True):
        assert np.array_equal(mine.actions, same.actions)
        assert np.array_equal(mine.states, same.states)
        assert not np.array_equal(mine.actions[:20], other.actions[:20])


def test_resuming_goes_on_with_new_seeds(tmp_path):
    path = tmp_path / "demos.hdf5"
    record("stow-cube", path, episodes=2, session=1)
    report = record("stow-cube", path, episodes=1, session=1, resume=True)
    assert (report.recorded, report.total) == (1, 3)
    with DemoDataset.open(path) as dataset:
        seeds = [dataset.attribute(name, "seed") for name in dataset.names]
    assert len(set(seeds)) == 3
    assert all(SEEDS_PER_SESSION <= seed < 2 * SEEDS_PER_SESSION for seed in seeds)


def test_what_a_session_misses_is_counted_by_task_seed_and_success(tmp_path):
    path = tmp_path / "demos.hdf5"
    assert episodes_missing(path, "stow-cube", episodes=3, session=1) == 3
    record("stow-cube", path, episodes=2, session=1)
    wild = Disturbance(scale=3.0, rate_hz=10.0)
    failed = record(
        "stow-cube", path, episodes=1, session=1, disturbance=wild, keep_failures=True, resume=True
    )
    assert failed.total == 3
    assert episodes_missing(path, "stow-cube", episodes=3, session=1) == 1
    assert episodes_missing(path, "stow-cube", episodes=3, session=1, keep_failures=True) == 0
    assert episodes_missing(path, "stow-cube", episodes=1, session=1) == 0
    assert episodes_missing(path, "stow-cube", episodes=3, session=2) == 3
    assert episodes_missing(path, "wipe", episodes=3, session=1) == 3


def test_a_session_stays_within_its_own_starts(tmp_path):
    path = tmp_path / "last.hdf5"
    last = 2 * SEEDS_PER_SESSION - 1
    with Recorder(path, TaskBatch("wipe", 1).env_args) as recorder:
        recorder.save(next(demonstrate("wipe", [last], parallel=1)))
    with pytest.raises(VandError, match=r"session 1 has used all of its 10000 starts.*--session"):
        record("wipe", path, episodes=1, session=1, resume=True)
    with DemoDataset.open(path) as dataset:
        assert [episode.seed for episode in dataset] == [last]


def test_failures_are_kept_and_marked_when_asked_for(tmp_path):
    path = tmp_path / "demos.hdf5"
    wild = Disturbance(scale=1.0, rate_hz=3.0)
    report = record("stow-cube", path, episodes=4, disturbance=wild, keep_failures=True)
    assert report.attempts == report.recorded == 4
    with DemoDataset.open(path) as dataset:
        assert not all(episode.success for episode in dataset)


def test_a_hopeless_session_says_so_and_keeps_what_it_has(tmp_path):
    path = tmp_path / "demos.hdf5"
    hopeless = Disturbance(scale=3.0, rate_hz=10.0)
    with pytest.raises(VandError, match="of 5 demonstrations of 'stow-cube' succeeded"):
        record("stow-cube", path, episodes=1, disturbance=hopeless)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task_id": "wip"}, "unknown task 'wip' .did you mean 'wipe'"),
        ({"device": "keybord"}, "unknown device 'keybord'"),
        ({"session": 1000}, "session: expected 0 to 999, got 1000"),
        ({"episodes": 0}, "episodes: expected at least 1, got 0"),
    ],
)
def test_mistakes_are_usage_errors(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        record(**{"task_id": "wipe", "path": tmp_path / "x", "episodes": 1, **options})


def test_an_existing_file_is_not_overwritten(demos):
    before = demos.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        record("wipe", demos, episodes=1)
    assert demos.read_bytes() == before


def test_another_control_rate_is_refused(demos):
    with pytest.raises(VandError, match="control_dt_s"):
        record("wipe", demos, episodes=1, control_dt_s=0.05, resume=True)


def test_several_tasks_are_recorded_in_turn_and_resumed_where_they_stopped(tmp_path):
    path = tmp_path / "demos.hdf5"
    expert, options = ExpertOptions(disturbance=None), RecordingOptions(session=2)
    shown = []

    @contextmanager
    def show(task_id, wanted):
        yield lambda done, _: shown.append((task_id, done, wanted))

    record("stow-cube", path, episodes=1, session=2, disturbance=None)
    tasks = ["stow-cube", "wipe", "stow-cube"]
    reports = list(record_tasks(tasks, path, expert, options, episodes=2, resume=True, show=show))
    assert [task for task, _ in reports] == tasks
    assert [(r.recorded, r.attempts > 0, r.total) for _, r in reports] == [
        (1, True, 2),
        (2, True, 4),
        (0, False, 4),  # nothing was missing
    ]
    assert shown == [("stow-cube", 1, 1), ("wipe", 1, 2), ("wipe", 2, 2)]
    assert check_file(path) == []


def test_a_person_records_one_task_at_a_time(tmp_path):
    person = TeleopOptions(device="web", connect=lambda _: None)
    recording = record_tasks(
        ["wipe", "stir"], tmp_path / "x", person, RecordingOptions(), episodes=1
    )
    with pytest.raises(UsageError, match="device 'web' records one task at a time, got 2"):
        next(recording)
