import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.browser import until
from vand_demos import DemoDataset
from vand_demos.system import isolation
from vand_demos.system.isolation import LostProcessError, UnstartedProcessError, run_apart
from vand_envs.errors import VandError


@pytest.fixture(autouse=True)
def started_anew(monkeypatch):
    """Every process starts as it does for users, not forked from a warm one."""
    monkeypatch.setattr(isolation, "subprocess", subprocess)


def count(number):
    yield from range(int(number))


def complain():
    yield "first"
    raise VandError("what is wrong")


def break_down():
    yield "first"
    raise ZeroDivisionError("a bug")


def hang():
    yield "first"
    time.sleep(600)


def die():
    yield "first"
    os.abort()


def hoard():
    yield len(bytearray(1 << 30))


def test_items_come_through_with_arguments():
    assert list(run_apart("tests.demos.system.test_isolation:count", ["3"])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        ("complain", VandError, "^what is wrong$"),
        ("break_down", LostProcessError, "failed .*a bug"),
        ("hang", LostProcessError, "did not come back within 2 s"),
        ("die", LostProcessError, "crashed .signal 6"),
    ],
)
def test_each_end_has_its_line_and_what_came_before_is_kept(function, kind, words):
    patience_s = 2.0 if function == "hang" else 60.0
    items = run_apart(f"tests.demos.system.test_isolation:{function}", [], patience_s=patience_s)
    assert next(items) == "first"
    with pytest.raises(kind, match=words):
        next(items)


def test_a_process_that_cannot_begin_says_nothing_of_what_it_was_to_read():
    with pytest.raises(UnstartedProcessError, match=r"could not start: .*no_such_module"):
        list(run_apart("no_such_module:count", ["3"]))


def test_memory_is_limited():
    assert list(run_apart("tests.demos.system.test_isolation:hoard", [])) == [1 << 30]
    with pytest.raises(VandError, match="memory"):
        list(run_apart("tests.demos.system.test_isolation:hoard", [], memory_bytes=1 << 28))


def test_a_guarded_data_set_opens_and_one_that_hangs_is_refused(demos, tmp_path, monkeypatch):
    monkeypatch.setattr("vand_demos.storage.guard.require_readable.__defaults__", (3.0,))
    with DemoDataset.open(demos, guarded=True) as dataset:
        assert len(dataset)
    content = bytearray(demos.read_bytes())
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    damaged = tmp_path / "damaged.hdf5"
    damaged.write_bytes(content)
    with pytest.raises(VandError, match="HDF5 did not come back within 3 s"):
        DemoDataset.open(damaged, guarded=True)


def say_who():
    yield os.getpid()
    time.sleep(600)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_other_process_dies_with_the_one_that_began_it(number):
    script = (
        "from vand_demos.system.isolation import run_apart;"
        "where = 'tests.demos.system.test_isolation:say_who';"
        "[print(pid, flush=True) for pid in run_apart(where, [])]"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as one:
        other = int(one.stdout.readline())
        assert Path(f"/proc/{other}").exists()
        one.send_signal(number)
    until(lambda: not _lives(other), 20)


def _lives(pid):
    """Whether a process is there and has not ended, though nobody may have asked for its end."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_ctrl_c_in_the_terminal_is_not_a_fault_of_what_is_read():
    items = run_apart("tests.demos.system.test_isolation:say_who", [], patience_s=3.0)
    pid = next(items)
    assert os.getpgid(pid) != os.getpgid(0)
    items.close()
    assert not _lives(pid)
