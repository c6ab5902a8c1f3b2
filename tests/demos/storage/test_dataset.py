import json

import h5py
import numpy as np
import pytest

from tests.helpers.episodes import ENV_ARGS, env_args, episode, same
from vand_demos import DemoDataset, check_file, require_compatible, write_dataset
from vand_demos.storage.describe import describe
from vand_demos.storage.editing import delete, filter_dataset, merge, split
from vand_envs.errors import UsageError, VandError


@pytest.fixture
def path(tmp_path):
    """A data set of four episodes of 5, 6, 7 and 8 steps, of two tasks, with masks."""
    write_dataset(tmp_path / "set.hdf5", four(), ENV_ARGS, {"train": [0, 1, 2], "valid": [3]})
    return tmp_path / "set.hdf5"


def four():
    tasks = ("wipe", "stow-cube", "wipe", "stow-cube")
    return [episode(i, 5 + i, image=True, task=task) for i, task in enumerate(tasks)]


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    episodes = four()
    assert write_dataset(tmp_path / "a.hdf5", episodes, ENV_ARGS) == tuple(
        f"demo_{i}" for i in range(4)
    )
    with DemoDataset.open(tmp_path / "a.hdf5") as dataset:
        assert dataset.env_args == ENV_ARGS
        assert len(dataset) == 4
        assert dataset.total == 5 + 6 + 7 + 8
        assert dataset.tasks == ("stow-cube", "wipe")
        assert dataset.pending_parts == 0
        assert [e.name for e in dataset] == list(dataset.names)
        assert all(same(a, b) for a, b in zip(episodes, dataset, strict=True))
    assert check_file(tmp_path / "a.hdf5") == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5"]


def test_which_steps_are_disturbed_is_kept_and_may_be_unknown(tmp_path):
    flags = np.arange(7) % 3 == 0
    known, unknown = episode(0, disturbed=flags), episode(1)
    for name, one in (("known", known), ("unknown", unknown)):
        write_dataset(tmp_path / f"{name}.hdf5", [one], ENV_ARGS)
    merge(tmp_path / "both.hdf5", [tmp_path / "known.hdf5", tmp_path / "unknown.hdf5"])
    with DemoDataset.open(tmp_path / "both.hdf5") as dataset:
        assert all(same(a, b) for a, b in zip((known, unknown), dataset, strict=True))
        assert dataset.episode("demo_0").disturbed.tolist() == flags.tolist()
        assert dataset.episode("demo_1").disturbed is None
    assert check_file(tmp_path / "both.hdf5") == []


def test_a_plain_hdf5_reader_finds_robomimics_layout(path):
    episodes = four()
    with h5py.File(path, "r", swmr=True, libver="latest") as file:  # as robomimic opens it
        demos = sorted(file["data"], key=lambda name: int(name[5:]))
        assert json.loads(file["data"].attrs["env_args"])["type"] == 2
        assert file["data"].attrs["total"] == 26
        assert [name.decode() for name in file["mask/train"][:]] == ["demo_0", "demo_1", "demo_2"]
        for name, written in zip(demos, episodes, strict=True):
            demo = file[f"data/{name}"]
            n = demo.attrs["num_samples"]
            assert n == len(written)
            assert demo.attrs["model_file"].startswith("<mujoco")
            np.testing.assert_array_equal(demo["actions"][()], written.actions)
            np.testing.assert_array_equal(demo["states"][()], written.states)
            for key in demo["obs"]:
                assert demo["obs"][key].shape[0] == demo["next_obs"][key].shape[0] == n
                np.testing.assert_array_equal(demo["next_obs"][key][:-1], demo["obs"][key][1:])
            assert demo["rewards"].shape == demo["dones"].shape == (n,)


def test_a_demo_copied_to_another_file_by_plain_hdf5_is_whole(path, tmp_path):
    with h5py.File(path, "r") as file, h5py.File(tmp_path / "copy.hdf5", "w") as other:
        file.copy("data/demo_1", other.create_group("data"), "demo_0")
    path.unlink()
    with h5py.File(tmp_path / "copy.hdf5", "r") as other:
        written = episode(1, 6, image=True, task="stow-cube")
        read = other["data/demo_0/next_obs/key_1"][()]
        np.testing.assert_array_equal(read, written.next_observations["key_1"])


def test_only_what_is_asked_for_is_read(path):
    with DemoDataset.open(path) as dataset:
        part = dataset.episode("demo_1", ["key_1"], states=False, next_observations=False)
        assert set(part.observations) == {"key_1"}
        assert not part.next_observations
        assert part.states is None
        np.testing.assert_array_equal(dataset.array("demo_1", "actions"), part.actions)


def test_states_and_next_observations_can_be_left_out(tmp_path):
    path = tmp_path / "lean.hdf5"
    write_dataset(path, four(), ENV_ARGS, states=False, next_observations=False)
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        assert dataset.episode("demo_0").states is None
        assert not dataset.episode("demo_0").next_observations


def test_names_are_ordered_by_number(tmp_path):
    write_dataset(tmp_path / "a.hdf5", (episode(i, 2) for i in range(12)), ENV_ARGS)
    with DemoDataset.open(tmp_path / "a.hdf5") as dataset:
        assert dataset.names == tuple(f"demo_{i}" for i in range(12))
        assert [e.seed for e in dataset] == list(range(12))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: d.episode("demo_9"), "unknown episode 'demo_9'"),
        (lambda d: d.episode("demo_0", ["kez_0"]), "did you mean 'key_0'"),
        (lambda d: d.split("trian"), "did you mean 'train'"),
    ],
)
def test_a_mistyped_name_gets_the_nearest_known(path, ask, message):
    with DemoDataset.open(path) as dataset, pytest.raises(UsageError, match=message):
        ask(dataset)


def test_an_existing_file_is_not_overwritten_unless_told(path):
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        write_dataset(path, four(), ENV_ARGS)
    assert path.read_bytes() == before
    write_dataset(path, [episode()], ENV_ARGS, overwrite=True)
    with DemoDataset.open(path) as dataset:
        assert len(dataset) == 1


def test_an_error_among_the_episodes_leaves_the_old_file_alone(path):
    before = path.read_bytes()

    def interrupted():
        yield episode()
        raise KeyError("a bug elsewhere")

    with pytest.raises(KeyError, match="a bug elsewhere"):
        write_dataset(path, interrupted(), ENV_ARGS, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("episodes", "masks", "message"),
    [
        ([], None, "no episodes to write"),
        (
            [episode(control_dt_s=0.05)],
            None,
            "control_dt_s: expected 0.1 as in the data set, got 0.05",
        ),
        ([episode(task="pour")], None, "task: expected one of stow-cube, wipe, got 'pour'"),
        ([episode(), episode(keys=3)], None, "obs/key_2: expected no such array"),
        ([episode(next_observations={})], None, "next_obs: expected what obs holds"),
        ([episode()], {"train": [1]}, "split 'train': there is no episode 1"),
        (
            [episode(), episode(1)],
            {"train": [0, 1], "valid": [1]},
            "'train' and 'valid' share episode 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, episodes, masks, message):
    with pytest.raises(VandError, match=message):
        write_dataset(tmp_path / "a.hdf5", episodes, ENV_ARGS, masks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"robot": "tidybot"},
        {"action_mode": "joint"},
        {"control_dt_s": 0.05},
        {"instructions": ["wipe"]},
    ],
)
def test_environments_that_differ_are_told_apart_by_name(change):
    require_compatible(ENV_ARGS, env_args(physics_dt_s=0.001))
    (key,) = change
    with pytest.raises(VandError, match=f"old.hdf5 does not fit: {key}: expected .* got "):
        require_compatible(ENV_ARGS, env_args(**change), "old.hdf5")


def test_a_hundred_smooth_episodes_take_less_than_20_mb(tmp_path):
    # As in the built-in world: 69 observed numbers, of which a fifth rest; 21 kB of MJCF.
    rng = np.random.default_rng(0)

    def smooth(n, d):
        velocity = np.cumsum(rng.normal(size=(n, d)), axis=0) * 0.01
        return np.cumsum(velocity, axis=0) * 0.1 + rng.normal(size=d)  # (n, d)

    def long(seed):
        seen = smooth(301, 69).astype(np.float32)
        seen[:, 55:] = seen[:1, 55:]
        keys = {f"key_{i}": seen[:, i : i + 3] for i in range(0, 69, 3)}
        plain = episode(seed, 300, states=None)
        now = {key: value[:-1] for key, value in keys.items()}
        after = {key: value[1:] for key, value in keys.items()}
        text = "<mujoco>" + "x" * 21_000 + "</mujoco>"
        return episode(
            seed,
            300,
            observations=now,
            next_observations=after,
            model_file=text,
            states=None,
            action_parts=plain.action_parts,
        )

    path = tmp_path / "a.hdf5"
    write_dataset(path, map(long, range(5)), ENV_ARGS)
    assert path.stat().st_size * 100 / 5 < 20e6
    raw = sum(array.nbytes for e in DemoDataset.open(path) for _, array in e.arrays())
    assert path.stat().st_size < raw


def test_split_holds_out_the_same_share_of_every_task(tmp_path):
    path = tmp_path / "a.hdf5"
    tasks = ["wipe"] * 10 + ["stow-cube"] * 20
    write_dataset(path, (episode(i, 2, task=t) for i, t in enumerate(tasks)), ENV_ARGS)
    masks = split(path, 0.2, seed=3)
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        assert {key: dataset.split(key) for key in dataset.splits} == masks
        assert sorted(masks["train"] + masks["valid"]) == sorted(dataset.names)
        held_out = [dataset.attribute(name, "task") for name in masks["valid"]]
    assert sorted(held_out) == ["stow-cube"] * 4 + ["wipe"] * 2
    assert split(path, 0.2, seed=3) == masks
    assert split(path, 0.2, seed=4) != masks
    with pytest.raises(UsageError, match="valid_fraction"):
        split(path, 1.0)
    with pytest.raises(UsageError, match="seed: expected 0 or more, got -1"):
        split(path, 0.2, seed=-1)


def test_split_never_holds_out_the_only_episode_of_a_task(tmp_path):
    write_dataset(tmp_path / "a.hdf5", [episode(), episode(1, task="stow-cube")], ENV_ARGS)
    assert split(tmp_path / "a.hdf5", 0.9)["valid"] == ()


def test_merging_what_was_filtered_apart_gives_all_episodes_and_masks_back(path, tmp_path):
    wipe, stow = tmp_path / "wipe.hdf5", tmp_path / "stow.hdf5"
    assert filter_dataset(path, wipe, lambda e: e.task == "wipe") == ("demo_0", "demo_2")
    assert filter_dataset(path, stow, lambda e: e.task != "wipe") == ("demo_1", "demo_3")
    merged = tmp_path / "merged.hdf5"
    assert merge(merged, [wipe, stow]) == ("demo_0", "demo_1", "demo_2", "demo_3")
    assert check_file(merged) == []
    with DemoDataset.open(path) as before, DemoDataset.open(merged) as after:
        assert after.split("valid") == ("demo_3",)
        ours, theirs = ({e.uid: e for e in dataset} for dataset in (before, after))
        assert ours.keys() == theirs.keys()
        assert all(same(ours[uid], theirs[uid]) for uid in ours)
    with pytest.raises(VandError, match="is the same recording as"):
        merge(tmp_path / "twice.hdf5", [wipe, wipe])


def test_delete_leaves_the_others_their_names_and_masks(path):
    assert delete(path, ["demo_1"]) == ("demo_0", "demo_2", "demo_3")
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        assert [e.seed for e in dataset] == [0, 2, 3]
        assert dataset.split("train") == ("demo_0", "demo_2")
    with pytest.raises(UsageError, match="unknown episode 'demo_1'"):
        delete(path, ["demo_1"])
    with pytest.raises(VandError, match="no episode would be left"):
        delete(path, ["demo_0", "demo_2", "demo_3"])


def test_the_description_is_json_and_counts_right(path):
    told = json.loads(json.dumps(describe(path)))
    assert told["episodes"] == 4
    assert told["steps"] == 26
    assert told["tasks"]["wipe"]["steps"] == {"min": 5, "median": 6.0, "max": 7}
    assert told["tasks"]["wipe"]["success"] == 1.0
    assert told["devices"] == {"expert": 4}
    assert told["observations"]["camera"] == [4, 5, 3]
    assert told["splits"] == {"train": 3, "valid": 1}
    assert told["pending_parts"] == 0
    highest = np.max([e.actions.max(0) for e in four()], axis=0)
    np.testing.assert_allclose(told["actions"]["actions"]["max"], highest)
