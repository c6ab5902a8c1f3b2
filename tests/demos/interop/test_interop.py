"""To other formats and back: the same arrays, texts, names and masks."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.disk import small_disk
from tests.helpers.episodes import ENV_ARGS, env_args, episode, same
from vand_demos import DemoDataset, Episode, write_dataset
from vand_demos.interop import FOLDERS, FORMATS, export_dataset, import_dataset
from vand_demos.storage.check import iterate_check
from vand_demos.storage.editing import delete, merge
from vand_envs import get_task
from vand_envs.errors import UsageError, VandError

pq = pytest.importorskip("pyarrow.parquet")
minari = pytest.importorskip("minari")

CONVERTED = list(FORMATS)


@pytest.fixture
def source(tmp_path):
    """Images, two instructions, a failure, a gap between names, masks."""
    path = tmp_path / "source.hdf5"
    stow = {"task": "stow-cube", "instruction": "put the cube in the bin", "success": False}
    episodes = [
        episode(0, steps=5, image=True),
        episode(1, steps=6, image=True),
        episode(2, steps=7, image=True, **stow),
        episode(3, steps=1, image=True),
    ]
    write_dataset(path, episodes, ENV_ARGS, {"train": [0, 2], "valid": [1, 3]})
    delete(path, ["demo_1"])
    return path


def back(source, tmp_path, format_name):
    """The data set after a journey to another format."""
    folder, path = tmp_path / f"{format_name}-v0", tmp_path / f"{format_name}.hdf5"
    export_dataset(source, folder, format_name)
    import_dataset(folder, path, format_name)
    return path


def assert_equal(path, other):
    with DemoDataset.open(path) as ours, DemoDataset.open(other) as theirs:
        assert ours.names == theirs.names
        assert ours.env_args == theirs.env_args
        assert {k: ours.split(k) for k in ours.splits} == {
            k: theirs.split(k) for k in theirs.splits
        }
        for a, b in zip(ours, theirs, strict=True):
            assert same(a, b)
    assert not [text for kind, text in iterate_check(other) if kind == "fault"]


@pytest.mark.parametrize("format_name", CONVERTED)
def test_out_and_back_gives_the_same(source, tmp_path, format_name):
    assert_equal(source, back(source, tmp_path, format_name))


@pytest.mark.parametrize("format_name", CONVERTED)
def test_what_was_left_out_stays_left_out(tmp_path, format_name):
    full, bare, path = (tmp_path / f"{name}.hdf5" for name in ("full", "bare", "both"))
    write_dataset(full, [episode(0)], ENV_ARGS)
    write_dataset(bare, [episode(1)], ENV_ARGS, states=False, next_observations=False)
    merge(path, [full, bare])
    other = back(path, tmp_path, format_name)
    assert_equal(path, other)
    with DemoDataset.open(other) as dataset:
        assert dataset.episode("demo_1").states is None
        assert not dataset.episode("demo_1").next_observations


@pytest.mark.parametrize("format_name", CONVERTED)
def test_which_steps_are_disturbed_goes_out_and_back(tmp_path, format_name):
    path = tmp_path / "some.hdf5"
    flags = np.arange(7) % 3 == 0
    write_dataset(path, [episode(0, disturbed=flags), episode(1)], ENV_ARGS)
    other = back(path, tmp_path, format_name)
    assert_equal(path, other)
    with DemoDataset.open(other) as dataset:
        assert dataset.episode("demo_0").disturbed.tolist() == flags.tolist()
        assert dataset.episode("demo_1").disturbed is None


@pytest.mark.parametrize("format_name", CONVERTED)
def test_the_task_of_each_step_goes_out_and_back(tmp_path, format_name):
    path = tmp_path / "some.hdf5"
    told = np.array([0, 0, 0, 1, 1, 1, 1], np.int64)
    write_dataset(path, [episode(0, step_tasks=told), episode(1)], ENV_ARGS)
    other = back(path, tmp_path, format_name)
    assert_equal(path, other)
    with DemoDataset.open(other) as dataset:
        assert [dataset.told(name) for name in dataset.names] == [("stow-cube", "wipe"), ("wipe",)]


def test_lerobot_sees_what_is_told_at_each_step(tmp_path):
    path, folder = tmp_path / "some.hdf5", tmp_path / "out"
    told = np.array([0, 0, 0, 1, 1, 1, 1], np.int64)
    write_dataset(path, [episode(0), episode(1, step_tasks=told)], ENV_ARGS)
    export_dataset(path, folder, "lerobot")
    tasks = pq.read_table(folder / "meta/tasks.parquet")
    words = dict(zip(tasks["task_index"].to_pylist(), tasks["task"].to_pylist(), strict=True))
    frames = pq.read_table(folder / "data/chunk-000/file-000.parquet")["task_index"].to_pylist()
    stow, wipe = (get_task(task).instruction for task in ("stow-cube", "wipe"))
    assert [words[index] for index in frames] == [wipe] * 7 + [stow] * 3 + [wipe] * 4


def test_a_lerobot_export_without_disturbed_steps_can_be_read(tmp_path):
    """Exports of earlier versions have no such columns."""
    path, folder, other = tmp_path / "some.hdf5", tmp_path / "out", tmp_path / "other.hdf5"
    write_dataset(path, [episode(0), episode(1)], ENV_ARGS)
    export_dataset(path, folder, "lerobot")
    frames = folder / "vand_robot/frames.parquet"
    pq.write_table(pq.read_table(frames).drop_columns(["disturbed", "step_tasks"]), frames)
    import_dataset(folder, other, "lerobot")
    assert_equal(path, other)


@pytest.mark.parametrize("format_name", CONVERTED)
def test_images_may_be_unknown_after_the_last_action(tmp_path, format_name):
    one = episode(4, image=True)
    vectors = {k: rows for k, rows in one.next_observations.items() if rows.ndim == 2}
    path = tmp_path / "a.hdf5"
    write_dataset(path, [replace(one, next_observations=vectors)], ENV_ARGS)
    assert_equal(path, back(path, tmp_path, format_name))


def native_episode(seed, /, **changes):
    """What others recorded: native actions, dotted keys, and much that is not known."""
    steps, rng = 9, np.random.default_rng(seed)
    return Episode(
        task="lift",
        instruction="lift it",
        control_dt_s=0.05,
        action_mode="native",
        observations={"arm.q": rng.normal(size=(steps, 2)).astype(np.float32)},
        next_observations={},
        actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        action_parts={},
        dones=(np.arange(steps) == steps - 1).astype(np.int64),
        versions={},
        action_low=np.array([-3.5, 0.1]),
        action_high=np.array([7.25, 0.3]),
        source={"format": "robomimic", "name": "lift.hdf5"},
        **changes,
    )


NATIVE_ARGS = {
    "env_name": "Lift",
    "env_version": "1.4",
    "type": 2,
    "env_kwargs": {
        "robot": "Panda",
        "action_mode": "native",
        "control_dt_s": 0.05,
        "instructions": ["lift"],
        "action_low": [-3.5, 0.1],
        "action_high": [7.25, 0.3],
    },
}


@pytest.mark.parametrize("format_name", CONVERTED)
def test_what_others_recorded_goes_out_and_back(tmp_path, format_name):
    path = tmp_path / "native.hdf5"
    known = {"rewards": np.linspace(-7, 90, 9).astype(np.float32), "success": False, "seed": 5}
    for number, episodes in enumerate(
        ([native_episode(0), native_episode(1)], [native_episode(2, **known)])
    ):
        write_dataset(
            path, episodes, NATIVE_ARGS, {"train": [0]}, overwrite=True, next_observations=False
        )
        (tmp_path / str(number)).mkdir()
        assert_equal(path, back(path, tmp_path / str(number), format_name))


@pytest.mark.parametrize("format_name", CONVERTED)
def test_a_real_recording_survives(demos, tmp_path, format_name):
    assert_equal(demos, back(demos, tmp_path, format_name))


def test_lerobot_finds_what_its_reader_needs(source, tmp_path):
    folder = tmp_path / "lerobot"
    export_dataset(source, folder, "lerobot")
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["total_episodes"], info["total_frames"]) == (10, 3, 13)
    frames = pq.read_table(folder / info["data_path"].format(chunk_index=0, file_index=0))
    assert frames.column_names == list(info["features"])  # its reader casts to exactly these
    assert not [name for name in info["features"] if "/" in name]
    assert info["features"]["observation.images.camera"]["dtype"] == "image"
    state = np.stack(frames["observation.state"].to_pylist())
    assert state.shape[1:] == tuple(info["features"]["observation.state"]["shape"])
    with DemoDataset.open(source) as dataset:
        seen = [np.concatenate([e.observations[f"key_{i}"] for i in range(2)], 1) for e in dataset]
        actions = np.concatenate([e.actions for e in dataset])
    assert np.array_equal(state, np.concatenate(seen))
    stats = json.loads((folder / "meta/stats.json").read_text())
    for name, values in (("observation.state", state), ("action", actions)):
        assert np.allclose(stats[name]["mean"], values.mean(0), atol=1e-6)
        assert np.allclose(stats[name]["std"], values.std(0), atol=1e-6)
        assert np.allclose(stats[name]["max"], values.max(0))
        assert stats[name]["count"] == [13]
    assert np.shape(stats["observation.images.camera"]["mean"]) == (3, 1, 1)
    tasks = pq.read_table(folder / "meta/tasks.parquet")
    assert tasks["task"].to_pylist() == ["wipe the board in circles", "put the cube in the bin"]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    places = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [p["dataset_from_index"] for p in places] == [0, 5, 12]
    assert [p["tasks"] for p in places][1] == ["put the cube in the bin"]
    assert frames["task_index"].to_pylist() == [0] * 5 + [1] * 7 + [0]
    assert np.allclose(frames["timestamp"].to_pylist()[:5], np.arange(5) / 10)


def test_lerobot_finds_the_objects_once_more_under_the_name_that_its_policies_ask_for(
    demos, source, tmp_path
):
    export_dataset(demos, tmp_path / "ours", "lerobot")
    info = json.loads((tmp_path / "ours/meta/info.json").read_text())["features"]
    name, every = "observation.environment_state", info["observation.state"]["names"]
    told = info[name]["names"]
    assert {"cube_rel.0", "cube_rot.5", "board_pos.1", "button_a_rel.2"} <= set(told)
    own = {"base_pose", "base_twist", "joint_pos", "joint_vel", "gripper", "ee_pos", "ee_rot"}
    assert {n.split(".")[0] for n in set(every) - set(told)} == own | {"ee_lag", "instruction"}
    frames = pq.read_table(tmp_path / "ours/data/chunk-000/file-000.parquet")
    objects, state = (np.stack(frames[n].to_pylist()) for n in (name, "observation.state"))
    assert np.array_equal(objects, state[:, [every.index(n) for n in told]])
    export_dataset(source, tmp_path / "others", "lerobot")  # nobody knows what its keys mean
    assert name not in json.loads((tmp_path / "others/meta/info.json").read_text())["features"]


def test_lerobot_files_are_followed_by_others_before_they_grow_large(source, tmp_path, monkeypatch):
    monkeypatch.setattr("vand_demos.interop.lerobot_layout.FILE_BYTES", 10)
    assert_equal(source, back(source, tmp_path, "lerobot"))
    assert len(list((tmp_path / "lerobot-v0/data").rglob("*.parquet"))) == 3


def test_minari_loads_it_by_name_and_recovers_the_environment(demos, tmp_path, monkeypatch):
    export_dataset(demos, tmp_path / "workshop-v0", "minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    loaded = minari.load_dataset("workshop-v0")
    with DemoDataset.open(demos) as dataset:
        assert loaded.total_steps == dataset.total
        first = dataset.episode(dataset.names[0])
    one = loaded[0]
    assert np.array_equal(one.actions, first.actions)
    assert all(len(rows) == len(first) + 1 for rows in one.observations.values())
    assert one.terminations[-1]
    environment = loaded.recover_environment()
    spaces = environment.observation_space.spaces, loaded.observation_space.spaces
    assert spaces[0].keys() == spaces[1].keys()
    assert all(spaces[0][key] == spaces[1][key] for key in spaces[0])
    environment.close()


def test_minari_keeps_the_namespace_where_its_root_is_known(source, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (tmp_path / "lab").mkdir()
    export_dataset(source, tmp_path / "lab" / "wipe-v0", "minari")
    assert minari.load_dataset("lab/wipe-v0").spec.dataset_id == "lab/wipe-v0"


def test_a_folder_may_be_named_from_where_one_stands(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_dataset(source, "wipe-v0", "minari")
    import_dataset("wipe-v0", "again.hdf5", "minari")
    assert_equal(source, tmp_path / "again.hdf5")


def test_robomimic_is_the_native_layout_so_a_recording_is_read_as_it_is(source, tmp_path):
    import_dataset(source, tmp_path / "again.hdf5", "robomimic")
    assert_equal(source, tmp_path / "again.hdf5")


@pytest.mark.parametrize(("format_name", "package"), [("lerobot", "pyarrow"), ("minari", "minari")])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    source, tmp_path, monkeypatch, format_name, package
):
    for name in list(sys.modules):
        if name.startswith(f"vand_demos.interop.{format_name}") or name.endswith(".columns"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(VandError, match=rf"{package}.*pip install 'vand-robot\[{format_name}\]'"):
        export_dataset(source, tmp_path / "out-v0", format_name)
    assert not (tmp_path / "out-v0").exists()


def test_an_export_appears_whole_or_not_at_all(tmp_path):
    path, out = tmp_path / "a.hdf5", tmp_path / "out-v0"
    rate = env_args(control_dt_s=0.08)
    write_dataset(path, [episode(0, control_dt_s=0.08)], rate)
    with pytest.raises(VandError, match=r"whole frames a second, got 12.5"):
        export_dataset(path, out, "lerobot")
    with pytest.raises(UsageError, match="Minari names data sets like 'wipe-v0', not 'wipe'"):
        export_dataset(path, tmp_path / "wipe", "minari")
    assert [item.name for item in tmp_path.iterdir()] == ["a.hdf5"]
    out.mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_dataset(path, out, "minari")


@pytest.mark.parametrize("format_name", FOLDERS)
def test_folders_that_are_not_ours_are_refused(tmp_path, format_name):
    (tmp_path / "folder").mkdir()
    for folder, words in (("none", "there is no folder"), ("folder", "folder")):
        with pytest.raises(VandError, match=words):
            import_dataset(tmp_path / folder, tmp_path / "a.hdf5", format_name)
    assert not (tmp_path / "a.hdf5").exists()


@pytest.mark.parametrize("format_name", FOLDERS)
def test_a_damaged_folder_is_one_line(source, tmp_path, format_name):
    folder = tmp_path / "folder-v0"
    export_dataset(source, folder, format_name)
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        if file.name == "stats.json" or file.name in ("info.json", "tasks.parquet"):
            continue  # for LeRobot's reader, not for the way back
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(VandError) as caught:
            import_dataset(folder, tmp_path / "a.hdf5", format_name)
        assert "\n" not in str(caught.value)
        file.write_bytes(content)
    assert not (tmp_path / "a.hdf5").exists()


def test_frames_that_were_edited_elsewhere_are_not_taken_for_ours(source, tmp_path):
    folder = tmp_path / "lerobot"
    export_dataset(source, folder, "lerobot")
    place = folder / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(place).slice(0, 2), place)
    with pytest.raises(VandError, match="expected 3 episodes, got 2"):
        import_dataset(folder, tmp_path / "a.hdf5", "lerobot")


def test_a_full_disk_is_one_line_and_nothing_is_left(demos, tmp_path):
    """HDF5 crashes the process that writes, or raises, as the room ends here or there."""
    with small_disk(tmp_path, "200k") as disk:
        with pytest.raises(VandError, match=r"^cannot write .*wipe-v0: .*disk.* full"):
            export_dataset(demos, disk / "wipe-v0", "minari")
        assert list(disk.iterdir()) == []
