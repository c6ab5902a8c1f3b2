"""The look at what describes a file, before anything in it is opened."""

from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from vand_demos import DemoDataset, write_dataset
from vand_demos.storage.guard import CHECKED_HEADER, require_readable
from vand_demos.storage.layout import ATTRIBUTES
from vand_envs.errors import VandError


def dataset(path: Path) -> Path:
    write_dataset(
        path, [episode(seed) for seed in range(3)], ENV_ARGS, {"train": [0], "valid": [1]}
    )
    return path


def address(path: Path, group: str, key: str) -> int:
    """Where the description of an array lies in a file."""
    with h5py.File(path, "r") as file:
        found = file[group]
        return int(found.id.links.get_info(key.encode()).u)


def damage(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def rewrite(source: Any, into: Any) -> None:
    """Write a group anew, in the form of the file that it goes to."""
    for key, value in source.attrs.items():
        into.attrs[key] = value
    for name, item in source.items():
        if isinstance(item, h5py.Dataset):
            into.create_dataset(name, data=item[()])
        else:
            rewrite(item, into.create_group(name))


def test_attributes_that_were_met_on_the_way_are_those_of_the_file(tmp_path: Path):
    path = dataset(tmp_path / "d.hdf5")
    notes = require_readable(path)
    assert list(notes) == ["demo_0", "demo_1", "demo_2"]
    with DemoDataset.open(path) as plain, DemoDataset.open(path, guarded=True) as guarded:
        for name in plain.names:
            assert {"task", "success", "seed", "uid", "num_samples"} <= notes[name].keys()
            for key in ATTRIBUTES:
                assert guarded.attribute(name, key) == plain.attribute(name, key), key
            for key, value in notes[name].items():
                assert type(value) is type(plain.attribute(name, key))
        assert guarded.total == plain.total == 21
        assert guarded.uids == plain.uids


def test_a_damaged_description_of_an_array_is_met_on_the_way(tmp_path: Path):
    path = dataset(tmp_path / "d.hdf5")
    place = address(path, "data/demo_1/obs", "key_0")
    assert path.read_bytes()[place:].startswith(CHECKED_HEADER)
    damage(path, place + 12)
    with pytest.raises(VandError, match=r"cannot read .*d\.hdf5: .*checksum"):
        DemoDataset.open(path, guarded=True)


def test_of_files_without_checksums_every_array_is_looked_at_first(tmp_path: Path):
    new, old = dataset(tmp_path / "new.hdf5"), tmp_path / "old.hdf5"
    with h5py.File(new, "r") as source, h5py.File(old, "w", libver="earliest") as file:
        rewrite(source, file)
    require_readable(old)
    place = address(old, "data/demo_1/obs", "key_0")
    assert not old.read_bytes()[place:].startswith(CHECKED_HEADER)
    damage(old, place)
    with pytest.raises(VandError, match=r"cannot read .*old\.hdf5"):
        require_readable(old)


@pytest.mark.parametrize("path", ["actions", "obs/key_1", "action_dict/gripper"])
def test_columns_are_those_of_the_episode_and_are_checked(tmp_path: Path, path: str):
    file = dataset(tmp_path / "d.hdf5")
    with DemoDataset.open(file) as data:
        arrays = dict(data.episode("demo_2").arrays())
        (column,) = data.columns("demo_2", [path])
        assert column.tobytes() == arrays[path].tobytes()
        assert data.step_shape("demo_2", path) == column.shape[1:]
        assert data.step_shape("demo_2", f"{path}_none") is None
        with pytest.raises(VandError, match="demo_2: obs/none: expected an array"):
            data.columns("demo_2", ["actions", "obs/none"])
    with h5py.File(file, "r+") as damaged:
        damaged[f"data/demo_2/{path}"][4, 0] = float("inf")
    with (
        DemoDataset.open(file) as data,
        pytest.raises(VandError, match=rf"demo_2: {path}\[4, 0\] = inf is not finite"),
    ):
        data.columns("demo_2", [path])
