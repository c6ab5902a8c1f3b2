"""Damaged and foreign files, generated: a few here, all of them with `make faults`."""

import pytest

from tests.conftest import TINY
from tests.faults.answers import answer
from tests.faults.datasets import COUNT, corrupt
from vand_demos import DemoDataset
from vand_demos.storage.editing import select

MEMORY_BYTES = 1 << 30
"""Most memory that a command may hold on a damaged data set [bytes]."""

SAMPLE = (7, 60, 97, 143, 183)
INDICES = [
    pytest.param(index, marks=() if index in SAMPLE else pytest.mark.slow) for index in range(COUNT)
]

UNREAD = ("states", "next_obs", "total:", "uid:", "/more", "expected gzip", "expected chunks")
"""What training does not read, or does not mind: faults of it are for `demos check` to find."""


@pytest.fixture(scope="module")
def sound(demos, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.hdf5"
    with DemoDataset.open(demos) as dataset:
        names = [name for name in dataset.names if dataset.attribute(name, "task") == "wipe"]
    with DemoDataset.open(demos) as dataset:
        first = [dataset.names[1], *names[:2]]
    select(demos, path, first)
    return path


@pytest.mark.parametrize("index", INDICES)
def test_a_damaged_file_is_answered_with_lines(index, sound, tmp_path):
    path = tmp_path / "damaged.hdf5"
    what = corrupt(index, sound, path)
    check = answer(["demos", "check", str(path)], tmp_path)
    train = answer(
        ["train", "quickstart", f"data=[{path}]", *TINY, "--out", str(tmp_path / "run")], tmp_path
    )
    for reply in (check, train):
        assert reply.code in (0, 1, 2), (what, reply)
        assert "Traceback" not in reply.out + reply.err, (what, reply)
        assert reply.memory_bytes < MEMORY_BYTES, (what, reply)
    faults = check.out.splitlines() if check.code else []
    assert bool(check.code) == bool(faults or check.err), (what, check)
    assert all(line.strip() and len(line) < 600 for line in faults), (what, check)
    errors = [line for line in train.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (1 if train.code else 0), (what, train)
    if (
        check.code == 0
    ):  # nothing that can be read was changed, or it became another task set's file
        assert train.code == 0 or "acts for instructions" in train.err, (what, train)
    if train.code == 0:
        assert all(any(word in fault for word in UNREAD) for fault in faults), (what, faults)
