"""Camera images in data sets: recorded, drawn afterwards, and read."""

import h5py
import numpy as np
import pytest

from tests.helpers.episodes import episode, same
from vand_demos import DemoDataset, check_file, split
from vand_demos.recording import record
from vand_demos.storage.augment import augment, with_images
from vand_envs import TaskBatch, make_world
from vand_envs.cameras import Cameras
from vand_envs.errors import UsageError, VandError
from vand_robot.cli.main import main

SIZES = {"head_rgb": (12, 16), "wrist_rgb": (8, 8)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same two undisturbed demonstrations, recorded without images and with them."""
    folder = tmp_path_factory.mktemp("images")
    paths = folder / "plain.hdf5", folder / "seen.hdf5"
    for path, cameras in zip(paths, (None, SIZES), strict=True):
        record("wipe", path, episodes=2, session=4, disturbance=None, cameras=cameras)
    split(paths[0], 0.5)
    return paths


@pytest.fixture(scope="module")
def augmented(files):
    out = files[0].with_name("augmented.hdf5")
    augment(files[0], out, SIZES)
    return out


def test_images_drawn_afterwards_are_those_that_recording_stores(files, augmented):
    with DemoDataset.open(files[1]) as seen, DemoDataset.open(augmented) as drawn:
        assert seen.names == drawn.names
        assert seen.env_args == drawn.env_args
        for name in seen.names:
            arrays = [dict(d.episode(name).arrays()) for d in (seen, drawn)]
            assert arrays[0].keys() == arrays[1].keys()
            for path, array in arrays[0].items():
                assert array.dtype == arrays[1][path].dtype, path
                assert np.array_equal(array, arrays[1][path]), path


def test_recorded_images_are_what_the_robot_sees_while_it_acts(files):
    with DemoDataset.open(files[1]) as dataset:
        demo = dataset.episode("demo_1")
    batch = TaskBatch("wipe", 1, cameras=SIZES)
    observation = batch.reset([demo.seed])
    for t in range(30):
        for key in (*SIZES, "ee_pos"):
            assert np.array_equal(observation[key][0], demo.observations[key][t]), (key, t)
        observation = batch.step(demo.actions[t : t + 1])
    batch.close()


def test_all_else_stays_as_it_was(files, augmented):
    with DemoDataset.open(files[0]) as plain, DemoDataset.open(augmented) as drawn:
        for name in plain.names:
            before, after = plain.episode(name), drawn.episode(name, images=False)
            assert same(before, after)
        assert plain.splits == drawn.splits == ("train", "valid")
        assert all(plain.split(key) == drawn.split(key) for key in plain.splits)
    assert check_file(augmented) == []


def test_images_are_stored_once_in_chunks_of_whole_steps_without_loss(augmented):
    with h5py.File(augmented) as file:
        demo = file["data/demo_0"]
        assert not set(SIZES) & set(demo["next_obs"])
        for key, size in SIZES.items():
            stored = demo[f"obs/{key}"]
            assert stored.dtype == np.uint8
            assert stored.chunks[1:] == (*size, 3)
            assert stored.compression == "gzip"


def test_a_gymnasium_environment_is_rebuilt_with_its_images(augmented):
    with DemoDataset.open(augmented) as dataset:
        assert {k: tuple(v) for k, v in dataset.env_args["env_kwargs"]["cameras"].items()} == SIZES


def test_a_stopped_augmentation_leaves_nothing_behind(files, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    out = tmp_path / "out.hdf5"
    with pytest.raises(KeyboardInterrupt):
        augment(files[0], out, SIZES, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_episodes(files, tmp_path):
    calls = []
    augment(
        files[0],
        tmp_path / "out.hdf5",
        {"wrist_rgb": (4, 4)},
        progress=lambda *at: calls.append(at),
    )
    assert calls == [(1, 2), (2, 2)]


def test_what_cannot_be_augmented_is_one_line(files, augmented, tmp_path):
    out = tmp_path / "out.hdf5"
    with pytest.raises(VandError, match="demo_0: obs/head_rgb is there already"):
        augment(augmented, out, {"head_rgb": (4, 4)})
    with pytest.raises(UsageError, match="no image observation is asked for"):
        augment(files[0], out, {})
    with pytest.raises(UsageError, match="exists already"):
        augment(files[0], augmented, SIZES)
    stateless = tmp_path / "stateless.hdf5"
    record("wipe", stateless, episodes=1, session=4, disturbance=None, states=False)
    with pytest.raises(VandError, match="demo_0: recorded without states"):
        augment(stateless, out, SIZES)
    assert not out.exists()


def test_states_of_another_world_are_refused():
    with pytest.raises(VandError, match="states: expected shape"):
        with_images(episode(), Cameras(make_world().model, SIZES))


def test_an_image_may_be_left_out_of_next_obs_and_nothing_else(tmp_path):
    whole = episode(image=True)
    later = {k: v for k, v in whole.next_observations.items() if k != "camera"}
    assert len(episode(image=True, next_observations=later)) == len(whole)
    del later["key_0"]
    with pytest.raises(VandError, match="next_obs: 'key_0' is missing"):
        episode(image=True, next_observations=later)


def test_a_data_set_keeps_to_the_images_it_began_with(augmented, tmp_path):
    path = tmp_path / "more.hdf5"
    path.write_bytes(augmented.read_bytes())
    with pytest.raises(VandError, match=r"obs/head_rgb: expected \(12, 16, 3\) uint8.*got none"):
        record("wipe", path, episodes=1, session=5, resume=True)


def test_the_command_records_and_draws_images(files, tmp_path):
    out = tmp_path / "out.hdf5"
    arguments = ["--images", "wrist_rgb", "--image-size", "8x6", "--out"]
    with pytest.raises(SystemExit) as done:
        main(["demos", "augment", str(files[0]), *arguments, str(out)])
    assert done.value.code == 0
    recorded = tmp_path / "recorded.hdf5"
    with pytest.raises(SystemExit) as done:
        main(["record", "wipe", "--episodes", "1", *arguments, str(recorded)])
    assert done.value.code == 0
    for path in (out, recorded):
        with DemoDataset.open(path) as dataset:
            shapes = dataset.observation_shapes("demo_0")
        assert shapes["wrist_rgb"] == (6, 8, 3)
        assert "head_rgb" not in shapes
