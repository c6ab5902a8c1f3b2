import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.episodes import (
    ENV_ARGS,
    count_under_lock,
    env_args,
    episode,
    record_forever,
    record_one_and_hang,
    record_until,
    record_with_file_limit,
    same,
)
from vand_demos import DemoDataset, Recorder, check_file, delete, repair, write_dataset
from vand_demos.storage.guard import readable
from vand_demos.storage.layout import part_uid, parts_folder
from vand_envs.errors import UsageError, VandError

KILLS = (5, pytest.param(50, marks=pytest.mark.slow))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.hdf5"


@pytest.fixture(scope="module")
def processes():
    """Starts processes quickly: a server that has imported everything forks them."""
    # The server finds modules through the environment alone, and ignores what it cannot preload.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.helpers.episodes", "pytest"])
        multiprocessing.forkserver.ensure_running()
    started = []

    def start(target, *args):
        process = context.Process(target=target, args=args, daemon=True)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def wait_for(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "the process did nothing"
        time.sleep(0.001)


def seeds(path):
    with DemoDataset.open(path) as dataset:
        return [e.seed for e in dataset]


def test_saved_episodes_are_in_the_data_set_in_their_order(path):
    written = [episode(i) for i in range(12)]
    with Recorder(path, ENV_ARGS) as recorder:
        assert [recorder.save(e) for e in written] == list(range(1, 13))
        assert len(recorder) == 12
    with DemoDataset.open(path) as dataset:
        assert all(same(a, b) for a, b in zip(written, dataset, strict=True))
    assert check_file(path) == []
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_recording_without_episodes_leaves_nothing_behind(path):
    with Recorder(path, ENV_ARGS):
        pass
    assert list(path.parent.iterdir()) == []


def test_finished_episodes_are_kept_when_the_session_fails(path):
    def interrupted():
        with Recorder(path, ENV_ARGS) as recorder:
            recorder.save(episode(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seeds(path) == [1]


def test_resume_continues_a_data_set_with_its_masks(path):
    write_dataset(path, [episode(0), episode(1)], ENV_ARGS, {"train": [0]})
    with Recorder(path, ENV_ARGS, resume=True) as recorder:
        assert recorder.save(episode(2)) == 3
    assert seeds(path) == [0, 1, 2]
    with DemoDataset.open(path) as dataset:
        assert dataset.split("train") == ("demo_0",)
        assert dataset.total == 21
    assert check_file(path) == []


def test_an_existing_data_set_is_only_continued_when_told(path):
    write_dataset(path, [episode(0)], ENV_ARGS)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already; --resume goes on with it, --force"):
        Recorder(path, ENV_ARGS)
    assert path.read_bytes() == before
    assert not parts_folder(path).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"robot": "tidybot"},
        {"action_mode": "joint"},
        {"control_dt_s": 0.2},
        {"instructions": ["wipe"]},
    ],
)
def test_a_data_set_of_something_else_is_not_continued(path, change):
    write_dataset(path, [episode(0)], ENV_ARGS)
    with pytest.raises(VandError, match=f"set.hdf5 does not fit: {next(iter(change))}: "):
        Recorder(path, env_args(**change), resume=True)
    assert not parts_folder(path).exists()


def test_an_episode_with_other_arrays_is_refused_and_recording_goes_on(path):
    write_dataset(path, [episode(0)], ENV_ARGS)
    with Recorder(path, ENV_ARGS, resume=True) as recorder:
        with pytest.raises(
            VandError, match=r"obs/key_2: expected no such array as in the data set"
        ):
            recorder.save(episode(1, keys=3))
        with pytest.raises(VandError, match="task: expected one of stow-cube, wipe, got 'pour'"):
            recorder.save(episode(1, task="pour"))
        assert recorder.save(episode(2)) == 2
    assert seeds(path) == [0, 2]


def test_a_closed_recorder_says_so(path):
    recorder = Recorder(path, ENV_ARGS)
    recorder.save(episode(0))
    recorder.close()
    recorder.close()
    with pytest.raises(VandError, match="the recorder is closed"):
        recorder.save(episode(1))
    assert seeds(path) == [0]


def test_the_second_writer_gets_an_error_and_the_first_is_undisturbed(path):
    with Recorder(path, ENV_ARGS) as first:
        first.save(episode(1))
        for write in (
            lambda: Recorder(path, ENV_ARGS),
            lambda: Recorder(path, ENV_ARGS, resume=True),
            lambda: repair(path),
            lambda: write_dataset(path, [episode(2)], ENV_ARGS, overwrite=True),
        ):
            with pytest.raises(VandError, match="is being written by another process"):
                write()
        first.save(episode(3))
    assert seeds(path) == [1, 3]


def test_a_writer_in_another_process_is_seen_and_its_lock_dies_with_it(path, tmp_path, processes):
    noted = tmp_path / "noted"
    child = processes(record_one_and_hang, path, noted)
    wait_for(noted.exists)
    with pytest.raises(VandError, match="is being written by another process"):
        Recorder(path, ENV_ARGS, resume=True)
    child.kill()
    child.join()
    with Recorder(path, ENV_ARGS, resume=True) as recorder:
        assert recorder.save(episode(2)) == 2
    assert seeds(path) == [1, 2]


def test_what_a_crash_left_is_seen_and_hinted_at(path):
    write_dataset(path, [episode(0)], ENV_ARGS)
    leave_parts(path, [episode(1), episode(2)])
    with DemoDataset.open(path) as dataset:
        assert (len(dataset), dataset.pending_parts) == (1, 2)
    report = repair(path)
    assert (report.episodes, report.recovered, report.damaged) == (3, 2, ())
    assert seeds(path) == [0, 1, 2]
    assert not parts_folder(path).exists()
    assert repair(path).recovered == 0


def leave_parts(path, episodes):
    """Records as a process does that dies before it packs."""
    kept = path.parent / "kept"
    recorder = Recorder(path, ENV_ARGS, resume=True)
    for one in episodes:
        recorder.save(one)
    shutil.copytree(parts_folder(path), kept)
    packed = path.read_bytes() if path.exists() else None
    recorder.close()
    if packed is None:
        path.unlink()
    else:
        path.write_bytes(packed)
    kept.rename(parts_folder(path))


def test_a_first_session_that_crashed_is_recovered_from_its_parts_alone(path):
    leave_parts(path, [episode(1), episode(2)])
    with pytest.raises(UsageError, match=r"2 recorded episodes wait to be packed: .* repair"):
        DemoDataset.open(path)
    with pytest.raises(UsageError, match="not packed yet"):
        Recorder(path, ENV_ARGS)
    repair(path)
    assert seeds(path) == [1, 2]
    assert check_file(path) == []


def test_parts_that_are_packed_already_are_not_packed_twice(path):
    # A crash after the data set was replaced and before its parts were removed.
    leave_parts(path, [episode(1), episode(2)])
    kept = path.parent / "kept"
    shutil.copytree(parts_folder(path), kept)
    repair(path)
    kept.rename(parts_folder(path))
    with DemoDataset.open(path) as dataset:
        assert dataset.pending_parts == 0
    report = repair(path)
    assert (report.episodes, report.recovered, report.already_packed) == (2, 0, 2)
    assert seeds(path) == [1, 2]
    assert not parts_folder(path).exists()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_copy_of_a_part_is_packed_once_or_in_place_of_a_damaged_one(path, damaged):
    leave_parts(path, [episode(1), episode(2)])
    first = min(parts_folder(path).glob("*.hdf5"))
    shutil.copyfile(first, first.with_name(f"000077-{part_uid(first)}.hdf5"))
    if damaged:
        first.write_bytes(first.read_bytes()[:3000])
    report = repair(path)
    assert (report.episodes, report.recovered, report.already_packed) == (2, 2, 1 - damaged)
    assert len(report.damaged) == damaged
    assert sorted(seeds(path)) == [1, 2]
    assert check_file(path) == []


def test_a_damaged_part_is_set_aside_and_the_others_are_packed(path):
    leave_parts(path, [episode(1), episode(2), episode(3)])
    second = sorted(parts_folder(path).glob("*.hdf5"))[1]
    second.write_bytes(second.read_bytes()[:3000])
    report = repair(path)
    assert seeds(path) == [1, 3]
    (aside,) = report.damaged
    assert aside.exists()
    assert aside.name == f"{second.name}.damaged"


def test_a_part_on_which_hdf5_never_returns_stops_no_other(path):
    leave_parts(path, [episode(1), episode(2), episode(3)])
    parts = sorted(parts_folder(path).glob("*.hdf5"))
    parts[1].unlink()
    os.mkfifo(parts[1])  # whoever opens it waits for ever
    assert readable(parts, patience_s=1.0) == [parts[0], parts[2]]


def test_a_recording_is_not_saved_twice(path):
    first = episode(1)
    with Recorder(path, ENV_ARGS) as recorder:
        recorder.save(first)
        with pytest.raises(VandError, match="holds already"):
            recorder.save(first)
        recorder.undo()
        assert recorder.save(first) == 1
    with (
        Recorder(path, ENV_ARGS, resume=True) as recorder,
        pytest.raises(VandError, match="holds already"),
    ):
        recorder.save(first)
    assert check_file(path) == []


def test_a_link_to_a_data_set_is_that_data_set(path, tmp_path):
    write_dataset(path, [episode(0)], ENV_ARGS)
    path.chmod(0o640)
    link = tmp_path / "link.hdf5"
    link.symlink_to(path)
    with Recorder(link, ENV_ARGS, resume=True) as recorder:
        recorder.save(episode(1))
        with pytest.raises(VandError, match="being written by another process"):
            Recorder(path, ENV_ARGS, resume=True)
    delete(link, ["demo_0"])
    assert link.is_symlink()
    assert seeds(path) == [1]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_that_leads_nowhere_is_no_data_set(tmp_path):
    loop = tmp_path / "loop.hdf5"
    loop.symlink_to(loop)
    with pytest.raises(UsageError, match="there is no data set"):
        DemoDataset.open(loop)


def test_a_lock_that_cannot_be_made_says_why(path):
    parts_folder(path).write_text("not a folder")
    with pytest.raises(VandError, match=r"cannot lock .*set\.hdf5: File exists"):
        Recorder(path, ENV_ARGS)


def test_a_lock_that_many_want_at_once_goes_to_one_after_the_other(path, processes):
    counter = path.with_suffix(".count")
    counter.write_text("0")
    started = [processes(count_under_lock, path, counter, 60) for _ in range(3)]
    for process in started:
        process.join(60)
        assert process.exitcode == 0
    assert counter.read_text() == "180"
    assert not parts_folder(path).exists()


def test_repair_of_nothing_is_a_usage_error(path):
    with pytest.raises(UsageError, match="there is no data set"):
        repair(path)


def test_a_damaged_data_set_stays_and_so_do_its_parts(path):
    write_dataset(path, [episode(0)], ENV_ARGS)
    leave_parts(path, [episode(1)])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(VandError, match=r"cannot open .*set\.hdf5"):
        repair(path)
    assert path.stat().st_size == 2000
    assert len(list(parts_folder(path).glob("*.hdf5"))) == 1


@pytest.mark.parametrize("kills", KILLS)
def test_no_acknowledged_episode_is_lost_whenever_the_recorder_is_killed(
    path, tmp_path, processes, kills
):
    rng = random.Random(0)
    noted = tmp_path / "noted"
    noted.touch()
    left_parts = left_temporary = 0
    kill = 0
    while kill < kills or (kill < 200 and not (left_parts and left_temporary)):
        kill += 1
        size = noted.stat().st_size
        child = processes(record_forever, path, noted)
        wait_for(lambda size=size: noted.stat().st_size > size)
        time.sleep(rng.uniform(0, 0.1))
        child.kill()
        child.join()
        folder = parts_folder(path)
        left_parts += any(folder.glob("*.hdf5"))
        left_temporary += any(folder.glob("*.tmp"))
        if kill % 2:
            repair(path)
        else:
            Recorder(path, ENV_ARGS, resume=True).close()
        assert not folder.exists()
        with DemoDataset.open(path) as dataset:
            uids = [dataset.attribute(name, "uid") for name in dataset.names]
        assert len(set(uids)) == len(uids)
        assert set(noted.read_text().split()) <= set(uids)
    assert left_parts  # else no kill came at a bad moment, and nothing was tested
    assert left_temporary
    assert check_file(path) == []


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_no_acknowledged_episode_is_lost_at_whatever_step_the_recorder_is_killed(
    path, tmp_path, processes, stride
):
    noted = tmp_path / "noted"
    noted.touch()
    steps = duplicates = 0
    ended = False
    while not ended:
        child = processes(record_until, steps, path, noted)
        child.join()
        ended = child.exitcode == 0
        assert ended or child.exitcode == -signal.SIGKILL
        steps += stride
        if path.exists() or any(parts_folder(path).glob("*.hdf5")):
            duplicates += repair(path).already_packed
            with DemoDataset.open(path) as dataset:
                uids = [dataset.attribute(name, "uid") for name in dataset.names]
            assert len(set(uids)) == len(uids)
            assert set(noted.read_text().split()) <= set(uids)
        if parts_folder(path).exists():  # killed before anything worth packing was there
            Recorder(path, ENV_ARGS, resume=True).close()
        assert not parts_folder(path).exists()
    assert steps > 10
    assert duplicates  # it was killed between replacing the data set and removing the parts
    assert check_file(path) == []


def test_a_full_disk_is_one_clear_line_and_costs_no_episode(path, tmp_path, processes):
    write_dataset(path, [episode(0, 50)], ENV_ARGS)
    before = path.read_bytes()
    report = tmp_path / "report"

    processes(record_with_file_limit, path, 10_000, 50, report).join()  # no room for a part
    *refused, last = report.read_text().splitlines()
    assert [line.partition(": cannot write ")[0] for line in refused] == ["save", "save"]
    assert all(line.endswith(": File too large") for line in refused)
    assert last == "packed"
    assert path.read_bytes() == before
    assert not parts_folder(path).exists()

    limit = len(before) + 1000
    processes(record_with_file_limit, path, limit, 50, report).join()  # for parts, not for packing
    assert report.read_text().splitlines() == [
        "saved",
        "saved",
        f"close: cannot write {parts_folder(path) / path.name}.tmp: File too large",
    ]
    assert path.read_bytes() == before
    assert sorted(p.suffix for p in parts_folder(path).iterdir()) == [".hdf5", ".hdf5"]
    assert repair(path).recovered == 2  # once there is room again
    assert seeds(path) == [0, 1, 2]


def test_hdf5_is_never_refused_space_in_the_middle_of_a_write(path, tmp_path, processes):
    # Refused then, HDF5 brings the process down: every limit must end in a report.
    report = tmp_path / "report"
    write_dataset(path, [episode(0, 50)], ENV_ARGS)
    base = path.read_bytes()
    for extra in (10, 100, 1000, 1100):
        path.write_bytes(base)
        shutil.rmtree(parts_folder(path), ignore_errors=True)
        report.unlink(missing_ok=True)
        child = processes(record_with_file_limit, path, len(base) + extra * 1024, 300, report)
        child.join()
        assert child.exitcode == 0
        said = report.read_text().splitlines()
        assert len(said) == 3
        assert all(line.endswith(("saved", "packed", ": File too large")) for line in said)
        assert seeds(path)[0] == 0


def test_a_full_file_system_is_reported_as_such(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    with contextlib.suppress(OSError):
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("file systems can be mounted by root only")
    try:
        path = disk / "set.hdf5"
        with Recorder(path, ENV_ARGS) as recorder:
            recorder.save(episode(0, 50))
        before = path.read_bytes()
        (disk / "other").write_bytes(bytes(1_600_000))
        recorder = Recorder(path, ENV_ARGS, resume=True)
        recorder.save(episode(1, 50))
        with pytest.raises(VandError, match=r"cannot write .*set\.hdf5.*: the disk is full$"):
            recorder.close()
        assert path.read_bytes() == before
        with DemoDataset.open(path) as dataset:
            assert dataset.pending_parts == 1
        (disk / "other").unlink()
        assert repair(path).recovered == 1
    finally:
        subprocess.run(["umount", str(disk)], capture_output=True, check=False)
