"""Files, folders and versions: what all that writes has in common."""

import errno
import json
import subprocess
import sys

import pytest

from vand_demos.system.files import (
    disk_errors,
    file_path,
    folder_aside,
    library_errors,
    replacing_folder,
)
from vand_demos.system.version import software_version
from vand_envs.errors import UsageError, VandError


def test_an_error_of_the_disk_is_one_line(tmp_path):
    none, missing = tmp_path / "none", r"^cannot read .*/none: No such file or directory$"
    with pytest.raises(VandError, match=missing), disk_errors("read", none):
        none.read_bytes()
    full = OSError(errno.ENOSPC, "No space left on device")
    line = r"^cannot write .*/a: the disk is full$"
    with pytest.raises(VandError, match=line), disk_errors("write", tmp_path / "a"):
        raise full


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), ValueError("x"), MemoryError()])
def test_other_errors_are_not_taken_for_errors_of_the_disk(tmp_path, error):
    with pytest.raises(type(error)), disk_errors("read", tmp_path):
        raise error


def test_an_error_is_damage_only_where_the_library_raised_it(tmp_path):
    ours, theirs = (
        library_errors("read", tmp_path, "h5py"),
        library_errors("read", tmp_path, "json"),
    )
    with pytest.raises(VandError, match=r"^cannot read .*: Expecting value"), theirs:
        json.loads("")
    with pytest.raises(ValueError, match=r"^Expecting value"), ours:
        json.loads("")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "run" / "best"
    with replacing_folder(folder) as new:
        (new / "a").write_text("1")
    with pytest.raises(IsADirectoryError), replacing_folder(folder) as new:
        new.write_text("2")
    assert (folder / "a").read_text() == "1"
    with replacing_folder(folder) as new:
        (new / "b").write_text("3")
        assert (folder / "a").exists()
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in folder.parent.iterdir()] == ["best"]
    assert folder_aside(folder) == folder.parent / ".best.old"


def test_a_folder_stays_where_the_new_one_cannot_take_its_name(tmp_path):
    folder = tmp_path / "best"
    with replacing_folder(folder) as new:
        (new / "a").write_text("1")
    with pytest.raises(OSError, match="No such file"), replacing_folder(folder) as new:
        new.rmdir()
    assert (folder / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_version_is_known_even_where_the_software_is_not_installed(monkeypatch):
    assert software_version("numpy")[0].isdigit()
    assert software_version("no-such-package") == "0+unknown"


HIDDEN = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = None  # as on Windows, which has neither
from pathlib import Path
import pytest
import vand_robot.cli.main
from tests.helpers.episodes import ENV_ARGS, episode
from vand_demos import DemoDataset, Recorder, check_file, split, write_dataset
from vand_demos.system.version import software_version
from vand_envs.errors import UsageError, VandError

path = Path(sys.argv[1])
with Recorder(path, ENV_ARGS) as recorder:
    recorder.save(episode(0))
    with pytest.raises(VandError, match="is being written by another process"):
        write_dataset(path, [episode(2)], ENV_ARGS, overwrite=True)
    recorder.save(episode(1))
split(path, 0.5)
assert check_file(path) == []
with DemoDataset.open(path, guarded=True) as dataset:
    assert len(dataset) == 2
print([entry.name for entry in path.parent.iterdir()])
"""


def test_data_sets_are_written_without_the_modules_that_windows_lacks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, str(tmp_path / "set.hdf5")],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['set.hdf5']\n"


@pytest.mark.parametrize("path", ["", ".", "/", "./."])
def test_a_path_without_the_name_of_a_file_is_refused(path):
    with pytest.raises(UsageError, match=r"^expected a file, got the folder '[./]'$"):
        file_path(path)
