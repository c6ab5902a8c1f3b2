"""Many files: few open at once, checked by few processes, and shown as they are read."""

import io
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.helpers.runs import override, random_episode, small_config, write
from vand_demos.storage import guard
from vand_demos.storage.layout import file_names
from vand_envs.errors import UsageError, VandError
from vand_robot.data.files import DataFiles
from vand_robot.data.loading import load_data

FILES = 60


def write_many(folder: Path, count: int = FILES) -> list[Path]:
    rng = np.random.default_rng(0)
    return [
        write(folder / f"{i:03}.hdf5", [random_episode(rng, "wipe", 4, seed=i)])
        for i in range(count)
    ]


def of_files(files: list[Path]):
    return override(small_config(files[0]), [f"data=[{','.join(map(str, files))}]"])


@contextmanager
def few_files_allowed(more: int):
    """A block in which this process may open so many files more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (here + 1 + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_files_than_a_process_may_open_are_checked_by_one_process_and_shown(
    tmp_path: Path, monkeypatch
):
    files = write_many(tmp_path)
    started = []
    run_apart = guard.run_apart
    monkeypatch.setattr(guard, "run_apart", lambda *a, **k: started.append(a) or run_apart(*a, **k))
    shown = io.StringIO()
    with few_files_allowed(30):
        loaded = load_data(of_files(files), Console(file=shown, width=80))
    assert len(loaded.train) == FILES
    assert len(started) == 1
    lines = shown.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["checking files", "reading demonstrations"]
    assert lines[0].endswith(f" of {FILES}")
    load_data(of_files(files))
    assert len(started) == 1  # they are known


def test_the_one_of_many_files_that_is_damaged_is_named(tmp_path: Path):
    files = write_many(tmp_path, 5)
    files[3].write_bytes(files[3].read_bytes()[:1000])
    with pytest.raises(VandError, match=r"003\.hdf5"):
        load_data(of_files(files))
    files[3].unlink()
    with pytest.raises(UsageError, match=r"there is no data set .*003\.hdf5"):
        load_data(of_files(files))


def test_a_command_s_line_holds_few_files(monkeypatch):
    monkeypatch.setattr(guard, "FILES_AT_ONCE", 3)
    monkeypatch.setattr(guard, "LETTERS_AT_ONCE", 10)
    versions = [(name, 0, 0, 0, 0) for name in ("a", "b", "c", "d", "e" * 8, "f", "g" * 20)]
    parts = [[name[0] for name, *_ in part] for part in guard._parts(versions)]
    assert parts == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


def test_a_file_that_changed_since_it_was_closed_is_refused(tmp_path: Path):
    files = [str(file) for file in write_many(tmp_path, 3)]
    pool = DataFiles(most_open=2)
    for path in files:
        with pool.use(path) as dataset:
            assert len(dataset) == 1
    Path(files[0]).unlink()
    write(Path(files[0]), [random_episode(np.random.default_rng(1), "wipe", 9)])
    with pytest.raises(VandError, match=r"000\.hdf5 has changed"), pool.use(files[0]):
        pass
    with pool.use(files[2]) as dataset:
        assert len(dataset) == 1
    pool.close()


def test_a_message_names_a_few_files():
    assert file_names(["a", "b", "c"]) == "a, b, c"
    assert file_names(list("abcdefgh")) == "a, b, c and 5 more"
