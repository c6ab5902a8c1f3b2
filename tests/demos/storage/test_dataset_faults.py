import contextlib
import json
import resource
import shutil
import subprocess

import h5py
import numpy as np
import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from vand_demos import DemoDataset, check_file, write_dataset
from vand_demos.storage.check import iterate_check
from vand_demos.storage.decode import hdf5_errors
from vand_demos.system import isolation
from vand_envs.errors import UsageError, VandError


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "set.hdf5"
    masks = {"train": [0], "valid": [1]}
    write_dataset(path, [episode(0, image=True), episode(1, image=True)], ENV_ARGS, masks)
    return path


@pytest.fixture
def path(sound, tmp_path):
    return shutil.copy(sound, tmp_path / "set.hdf5")


def put(place, at, value):
    def change(file):
        file[place][at] = value

    return change


def store(place, **dataset):
    """Puts another array in a place, stored as ours are unless told otherwise."""

    def change(file):
        if place in file:
            del file[place]
        ours = {"chunks": True, "compression": "gzip", "shuffle": True}
        file.create_dataset(place, **{**ours, **dataset})

    return change


def label(place, **attributes):
    def change(file):
        for name, value in attributes.items():
            file[place].attrs[name] = value

    return change


def remove(place, attribute=None):
    def change(file):
        if attribute is None:
            del file[place]
        else:
            del file[place].attrs[attribute]

    return change


def link(place, to):
    def change(file):
        del file[place]
        file[place] = to

    return change


def repeat_identity(file):
    file["data/demo_1"].attrs["uid"] = file["data/demo_0"].attrs["uid"]


def lie_about_memory(file):
    creation = {"shape": (7, 10**10), "dtype": "f4", "chunks": (7, 10), "compression": "gzip"}
    store("data/demo_0/obs/key_0", **creation)(file)


def lie_moderately(file):
    store("data/demo_0/obs/key_0", shape=(7, 10**7), dtype="f4", chunks=(7, 1000))(file)


def count_to_the_sky(file):
    steps = 10**9
    file["data/demo_0"].attrs["num_samples"] = steps
    for name in ("actions", "states"):
        store(f"data/demo_0/{name}", shape=(steps, 10), dtype="f4", chunks=(1000, 10))(file)


def faults_of(path):
    """The faults that the check finds, without the process around it."""
    return [text for kind, text in iterate_check(path) if kind == "fault"]


NAN = float("nan")
D = "data/demo_1"

FAULTS = {
    "nan": (put(f"{D}/obs/key_0", (2, 1), NAN), "demo_1: obs/key_0[2, 1] = nan is not finite"),
    "action of 1.5": (
        put(f"{D}/actions", (2, 1), 1.5),
        "demo_1: actions[2, 1] = 1.5 is outside [-1, 1]",
    ),
    "action changed": (
        put(f"{D}/actions", (2, 1), 0.0),
        "demo_1: actions[2, 1] = 0.0 differs from base",
    ),
    "next_obs changed": (
        put(f"{D}/next_obs/camera", (2, 1, 1, 1), 3),
        "demo_1: next_obs/camera[2, 1, 1, 1] = 3 differs from obs one step later",
    ),
    "short array": (
        store(f"{D}/rewards", data=np.zeros(6, "f4")),
        "demo_1: rewards: expected 7 steps (num_samples), got shape (6,)",
    ),
    "long array": (
        store(f"{D}/obs/key_0", data=np.zeros((8, 3), "f4")),
        "demo_1: obs/key_0: expected 7 steps (num_samples), got shape (8, 3)",
    ),
    "float64": (
        store(f"{D}/rewards", data=np.zeros(7)),
        "demo_1: rewards: expected float32, got float64",
    ),
    "text array": (
        store(f"{D}/rewards", data=np.array([b"1"] * 7)),
        "demo_1: rewards: expected numbers, got |S1",
    ),
    "one number": (
        store(f"{D}/rewards", data=1.0, chunks=None, compression=None, shuffle=False),
        "demo_1: rewards: expected 7 steps (num_samples), got shape ()",
    ),
    "uncompressed": (
        store(f"{D}/rewards", data=np.zeros(7, "f4"), compression=None, shuffle=False),
        "demo_1: rewards: expected gzip + shuffle, got None",
    ),
    "not chunked along time": (
        store(f"{D}/obs/key_0", data=episode(1).observations["key_0"], chunks=(7, 1)),
        "demo_1: obs/key_0: expected chunks of whole steps, got (7, 1)",
    ),
    "actions missing": (remove(f"{D}/actions"), "demo_1: actions: is missing"),
    "dones missing": (remove(f"{D}/dones"), "demo_1: dones: is missing"),
    "action parts missing": (remove(f"{D}/action_dict"), "demo_1: action_dict: is missing"),
    "part missing": (
        remove(f"{D}/action_dict/gripper"),
        "demo_1: action_dict: 'gripper' is missing",
    ),
    "observations missing": (
        remove(f"{D}/obs"),
        "demo_1: obs: expected at least one observation key",
    ),
    "key missing from next": (
        remove(f"{D}/next_obs/key_1"),
        "demo_1: next_obs: 'key_1' is missing",
    ),
    "key missing from one": (
        lambda f: [remove(f"{D}/{group}/key_1")(f) for group in ("obs", "next_obs")],
        "demo_1: obs/key_1: expected (3,) float32 as in the data set, got none",
    ),
    "unknown array": (
        store(f"{D}/extra", data=np.zeros(7)),
        "demo_1: extra: unknown; known: actions",
    ),
    "group for array": (
        lambda f: (remove(f"{D}/rewards")(f), f[D].create_group("rewards")),
        "demo_1: rewards: expected an array of this file, got a group or a link",
    ),
    "array for group": (
        lambda f: (remove(f"{D}/obs")(f), f[D].create_dataset("obs", data=[1.0])),
        "demo_1/obs: expected a group",
    ),
    "seed missing": (remove(D, "seed"), "demo_1: seed: is missing"),
    "success as text": (
        label(D, success="yes"),
        "demo_1: success: expected true or false, got 'yes'",
    ),
    "device unknown": (label(D, device="mouse"), "demo_1: device: expected one of expert"),
    "seed a list": (
        label(D, seed=[1, 2]),
        "demo_1: seed: expected one value, got int64 of shape (2,)",
    ),
    "versions no json": (label(D, versions="{"), "demo_1: versions: expected JSON"),
    "num_samples missing": (
        remove(D, "num_samples"),
        "demo_1: num_samples: expected a positive integer",
    ),
    "num_samples negative": (
        label(D, num_samples=-1),
        "demo_1: num_samples: expected a positive integer",
    ),
    "num_samples wrong": (
        label(D, num_samples=9),
        "demo_1: actions: expected 9 steps (num_samples), got",
    ),
    "other time step": (
        label(D, control_dt_s=0.2),
        "control_dt_s: expected 0.1 as in the data set, got 0.2",
    ),
    "foreign task": (label(D, task="pour"), "task: expected one of stow-cube, wipe, got 'pour'"),
    "identity twice": (repeat_identity, "demo_1: uid: "),
    "other child of data": (
        lambda f: f["data"].create_group("notes"),
        "data/notes: expected demo_<int>",
    ),
    "other child of file": (lambda f: f.create_group("more"), "/more: unknown; known: data, mask"),
    "total wrong": (
        label("data", total=3),
        "data: total: expected the 14 steps of all episodes, got 3",
    ),
    "env_args no json": (label("data", env_args="{"), "env_args: expected JSON"),
    "env_args deep": (label("data", env_args="[" * 10**5), "env_args: expected JSON"),
    "env_args empty": (label("data", env_args="{}"), "env_args.env_name is missing"),
    "env_kwargs lacks robot": (
        label("data", env_args=json.dumps({**ENV_ARGS, "env_kwargs": {}})),
        "env_args.env_kwargs.robot is missing",
    ),
    "no episodes": (
        lambda f: [remove(f"data/demo_{i}")(f) for i in range(2)],
        "data: expected at least one episode, got none",
    ),
    "no data": (remove("data"), "/data: expected a group"),
    "no format": (remove("/", "format"), "is no vand-robot-demos file"),
    "later format": (
        label("/", format_version=99),
        "has format version 99, this software reads up to 2",
    ),
    "mask names a stranger": (
        store("mask/train", data=[b"demo_7"]),
        "mask/train: 'demo_7' is no episode of this file",
    ),
    "mask twice": (
        store("mask/train", data=[b"demo_0"] * 2),
        "mask/train: 'demo_0' is listed 2 times",
    ),
    "masks overlap": (
        store("mask/valid", data=[b"demo_0"]),
        "mask: 'demo_0' is in both train and valid",
    ),
    "mask of numbers": (
        store("mask/train", data=[1, 2]),
        "mask/train: expected names, got int64 of (2,)",
    ),
    "huge mask": (
        store("mask/train", shape=(10**12,), dtype="S16", chunks=(100,)),
        "mask/train: expected names, got 1000000000000",
    ),
    "huge declared array": (lie_about_memory, "demo_0: obs/key_0: declares shape (7, 10000000000)"),
    "empty declared array": (
        lie_moderately,
        "demo_0: obs/key_0: declares 280000000 bytes, but holds 0",
    ),
    "huge num_samples": (count_to_the_sky, "demo_0: actions: declares shape (1000000000, 10)"),
    "huge chunk": (
        store(f"{D}/obs/key_0", shape=(7, 10**8), dtype="f4", chunks=(7, 10**8)),
        "demo_1: obs/key_0: declares shape (7, 100000000) in chunks",
    ),
    "virtual array": (
        lambda f: (
            remove(f"{D}/rewards")(f),
            f.create_virtual_dataset(f"{D}/rewards", h5py.VirtualLayout((7,), "f4")),
        ),
        "demo_1: rewards: expected its numbers in this file, got a reference to another",
    ),
    "array elsewhere": (
        lambda f: (
            remove(f"{D}/rewards")(f),
            f.create_dataset(f"{D}/rewards", (7,), "f4", external=[("/etc/passwd", 0, 28)]),
        ),
        "demo_1: rewards: expected its numbers in this file, got a reference to another",
    ),
    "link to another file": (
        link(f"{D}/rewards", h5py.ExternalLink("/etc/passwd", "/x")),
        "demo_1: rewards: expected an array of this file, got a group or a link",
    ),
    "link in a circle": (
        link(f"{D}/obs", h5py.SoftLink(f"/{D}/obs")),
        "/data/demo_1/obs: expected a group",
    ),
    "link to a parent": (
        lambda f: (remove(f"{D}/obs/key_0")(f), f[f"{D}/obs"].__setitem__("key_0", f["data"])),
        "demo_1: obs/key_0: expected an array of this file, got a group or a link",
    ),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_the_check_names_the_fault_on_one_line(path, change, message):
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        change(file)
    faults = faults_of(path)
    assert any(message in fault for fault in faults), faults
    assert all("\n" not in fault and len(fault) < 500 for fault in faults)


def test_a_missing_total_is_said_in_plain_words(path):
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["total"]
    (fault,) = faults_of(path)
    assert fault == "data: total: expected the 14 steps of all episodes, but it is missing"


def test_a_file_of_another_format_is_one_line_however_many_episodes_it_has(tmp_path):
    path = tmp_path / "foreign.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(200):
            file[f"data/demo_{i}/actions"] = np.zeros((5, 7))
    (fault,) = check_file(path)
    assert "is no vand-robot-demos file" in fault


def test_the_check_stops_after_a_hundred_faults(path):
    with h5py.File(path, "r+") as file:
        for i in range(200):
            file.create_group(f"data/stranger_{i}")
    faults = faults_of(path)
    assert len(faults) == 101
    assert faults[-1] == "the check stopped after 100 faults"


def test_a_success_without_a_reward_is_a_fault_as_it_is_for_training(tmp_path):
    path = tmp_path / "set.hdf5"
    zeros = np.zeros(7, np.float32)
    stow = {"task": "stow-cube", "instruction": "put the cube in the bin", "rewards": zeros}
    done, failed = episode(0, **stow), episode(1, success=False, **stow)
    write_dataset(path, [done, failed, episode(2, rewards=zeros)], ENV_ARGS)
    message = "success: expected a reward for it, but all rewards are zero"
    assert faults_of(path) == [f"demo_0: {message}"]


def test_an_error_of_our_own_code_is_not_called_damage(path):
    with DemoDataset.open(path) as dataset:
        with (
            pytest.raises(VandError, match=r"cannot read the file .*set\.hdf5: "),
            hdf5_errors("read the file", path),
        ):
            dataset.file["nothing"]
        with pytest.raises(KeyError), hdf5_errors("read the file", path):
            {}["nothing"]


def test_a_sound_file_has_no_faults(path):
    assert check_file(path) == faults_of(path) == []


def test_every_faulty_episode_is_reported_not_only_the_first(path):
    with h5py.File(path, "r+") as file:
        for demo in ("demo_0", "demo_1"):
            file[f"data/{demo}/actions"][0, 0] = 3
            file[f"data/{demo}/states"][1, 0] = NAN
    assert len(check_file(path)) == 4
    assert check_file(path) == faults_of(path)


def test_reading_a_faulty_episode_is_one_line_and_others_can_be_read(path):
    with h5py.File(path, "r+") as file:
        file["data/demo_0/actions"][0, 0] = 3
    with DemoDataset.open(path) as dataset:
        with pytest.raises(VandError, match=r"set.hdf5: demo_0: actions\[0, 0\] = 3.0 is outside"):
            dataset.episode("demo_0")
        assert dataset.episode("demo_1").seed == 1


def test_files_that_are_no_data_set_are_one_clear_line(tmp_path):
    contents = {"text": b"episode 1: went well\n" * 100, "empty": b"", "zeros": bytes(5000)}
    for name, content in contents.items():
        path = tmp_path / f"{name}.hdf5"
        path.write_bytes(content)
        assert check_file(path) == [f"{path} is no HDF5 file"]
        with pytest.raises(VandError, match=r"is no HDF5 file$"):
            DemoDataset.open(path)
    with pytest.raises(UsageError, match="there is no data set"):
        check_file(tmp_path / "none.hdf5")
    with pytest.raises(UsageError, match="is a folder"):
        check_file(tmp_path)
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["x"] = 1
    with pytest.raises(VandError, match="is no vand-robot-demos file"):
        DemoDataset.open(tmp_path / "foreign.hdf5")


def test_a_truncated_file_is_one_clear_line(path):
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 1000, 100, 9):
        path.write_bytes(content[:size])
        (fault,) = faults_of(path)
        assert str(path) in fault
        with pytest.raises(VandError):
            DemoDataset.open(path)


def test_bytes_that_make_hdf5_run_in_circles_are_a_fault_not_a_hang(path):
    # HDF5 never comes back from a heap of texts whose entries are zeros, such as a lost disk block.
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(content)
    (fault,) = check_file(path, patience_s=3.0)
    assert fault.endswith("the head of the file: HDF5 did not come back within 3 s")


def test_a_crash_of_hdf5_is_a_fault_of_the_file(path, tmp_path, monkeypatch):
    crashing = "import os, h5py\nh5py.is_hdf5 = lambda _: os.abort()\n"
    (tmp_path / "sitecustomize.py").write_text(crashing)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(isolation, "subprocess", subprocess)  # a process that starts anew reads it
    (fault,) = check_file(path)
    assert fault.endswith("the head of the file: HDF5 crashed (signal 6)")


def test_damaged_arrays_never_end_in_a_traceback(sound, path):
    # Bytes are changed anywhere but in the heaps of texts, which can hang HDF5 (see above).
    content = np.frombuffer(sound.read_bytes(), np.uint8)
    heaps = [i for i in range(len(content) - 4) if content[i : i + 4].tobytes() == b"GCOL"]
    allowed = np.ones(len(content), bool)
    for heap in heaps:
        allowed[heap : heap + 4096] = False
    places = np.flatnonzero(allowed)
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = content.copy()
        at = rng.choice(places, rng.integers(1, 40))
        damaged[at] = rng.integers(0, 256, len(at))
        path.write_bytes(damaged.tobytes())
        assert all("\n" not in fault for fault in faults_of(path))
        with contextlib.suppress(VandError), DemoDataset.open(path) as dataset:
            list(dataset)


@pytest.mark.parametrize("lie", [lie_about_memory, lie_moderately, count_to_the_sky])
def test_a_declared_size_takes_no_memory(path, lie):
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        lie(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert faults_of(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_info_names_the_episode_whose_actions_are_of_another_shape(path, fails):
    with h5py.File(path, "r+") as file:
        actions = file["data/demo_1/actions"][()]
        store("data/demo_1/actions", data=actions[:, :-1])(file)
    code, line = fails("demos", "info", path)
    assert code == 1
    assert "demo_1: actions: expected (" in line
