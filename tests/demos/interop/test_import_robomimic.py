"""robomimic files of others: one of Meta-World's expert, and what robosuite's own scripts leave."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.episodes import same
from vand_demos import DemoDataset
from vand_demos.interop import ImportOptions, export_dataset, import_dataset
from vand_demos.storage.check import iterate_check
from vand_envs.errors import UsageError, VandError

DRAWER = Path("tests/fixtures/metaworld_drawer_open.hdf5")
PENDULUM = Path("tests/fixtures/robomimic_pendulum.hdf5")


def taken(path: Path, out: Path, **options) -> DemoDataset:
    import_dataset(path, out, "robomimic", ImportOptions(**options))
    assert not [text for kind, text in iterate_check(out) if kind == "fault"]
    return DemoDataset.open(out)


def raw(path: Path, change=None, steps=(5, 7), **attributes) -> Path:
    """A file as robosuite collects it: states and actions, an environment, no observations."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env"] = "Lift"
        data.attrs["env_info"] = json.dumps({"robots": ["Panda"], "control_freq": 20})
        data.attrs["repository_version"] = "1.4.1"
        for key, value in attributes.items():
            data.attrs[key] = value
        for number, n in enumerate(steps):
            demo = data.create_group(f"demo_{number + 1}")
            demo["states"] = rng.normal(size=(n, 32))
            demo["actions"] = rng.uniform(-1, 1, (n, 7))
            demo.attrs["model_file"] = "<mujoco model='base'/>"
        if change:
            change(data)
    return path


def test_the_drawer_of_metaworld_comes_in_as_it_is(tmp_path):
    with taken(DRAWER, tmp_path / "a.hdf5", instruction="open the drawer") as ours:
        with h5py.File(DRAWER) as theirs:
            for name in ours.names:
                episode, demo = ours.episode(name), theirs["data"][name]
                assert np.array_equal(episode.observations["observation"], demo["obs/observation"])
                after = episode.next_observations["observation"]
                assert np.array_equal(after, demo["next_obs/observation"])
                assert np.array_equal(episode.actions, demo["actions"])
                assert np.array_equal(episode.native_actions, demo["actions"])
                assert np.array_equal(episode.rewards, demo["rewards"])
                assert episode.task == "open-the-drawer"
                unknown = episode.success, episode.seed, episode.device, episode.model_file
                assert unknown == (None,) * 4
                assert episode.source["episode"] == name
            assert len(ours.split("train")) == 12
            assert ours.split("valid") == ("demo_12", "demo_13")
        assert ours.env_args["env_kwargs"]["control_dt_s"] == 1 / 80
        assert ours.env_args["env_kwargs"]["source_env"]["env_kwargs"]["control_freq"] == 80


def test_a_file_that_robomimics_scripts_completed_comes_in(tmp_path):
    out = tmp_path / "a.hdf5"
    options = ImportOptions(images=("all",), instruction="swing up")
    import_dataset(PENDULUM, out, "robomimic", options)
    with DemoDataset.open(out) as ours, h5py.File(PENDULUM) as theirs:
        assert ours.env_args["env_kwargs"]["robot"] == "Pendulum"
        assert ours.env_args["env_kwargs"]["source_env"]["env_name"] == "Pendulum-v1"
        masks = {
            split: {name.decode() for name in theirs["mask"][split]} for split in theirs["mask"]
        }
        assert {split: set(ours.split(split)) for split in ours.splits} == masks
        assert (len(masks["train"]), len(masks["valid"])) == (4, 1)
        for name in ours.names:
            episode, demo = ours.episode(name), theirs["data"][name]
            assert np.array_equal(episode.states, demo["states"])
            assert np.array_equal(episode.actions, demo["actions"][:].astype(np.float32))
            assert np.array_equal(episode.rewards, demo["rewards"][:].astype(np.float32))
            assert np.array_equal(episode.observations["view_image"], demo["obs/view_image"])
            speed = demo["next_obs/speed"][:].astype(np.float32)
            assert np.array_equal(episode.next_observations["speed"], speed)
    export_dataset(out, tmp_path / "b.hdf5", "robomimic")
    import_dataset(tmp_path / "b.hdf5", tmp_path / "c.hdf5", "robomimic")
    with DemoDataset.open(out) as ours, DemoDataset.open(tmp_path / "c.hdf5") as again:
        assert all(same(a, b) for a, b in zip(ours, again, strict=True))


def test_the_same_recording_is_known_again(tmp_path):
    first, second = (taken(DRAWER, tmp_path / f"{i}.hdf5", instruction=f"do {i}") for i in (0, 1))
    assert first.uids == second.uids


def test_a_collection_of_robosuite_has_its_states_for_observations(tmp_path):
    path = raw(tmp_path / "raw.hdf5")
    out = tmp_path / "a.hdf5"
    note = import_dataset(path, out, "robomimic").note
    assert "the simulator's state is the observation 'states'" in note
    assert "no instructions: 'Lift'" in note
    with DemoDataset.open(out) as dataset:
        assert dataset.names == ("demo_1", "demo_2")
        assert dataset.env_args["env_kwargs"]["robot"] == "Panda"
        episode = dataset.episode("demo_2")
        assert episode.rewards is None
        assert episode.model_file == "<mujoco model='base'/>"
        assert np.array_equal(episode.observations["states"], episode.states.astype(np.float32))
        assert episode.control_dt_s == 1 / 20


def test_keys_are_chosen_and_renamed_and_the_rate_is_changed_by_holding(tmp_path):
    options = {"keys": {"observation": "seen"}, "instruction": "open", "rate_hz": 20.0}
    with taken(DRAWER, tmp_path / "a.hdf5", **options) as ours, h5py.File(DRAWER) as theirs:
        episode, demo = ours.episode("demo_0"), theirs["data/demo_0"]
        assert list(episode.observations) == ["seen"]
        assert np.array_equal(episode.observations["seen"], demo["obs/observation"][::4])
        assert np.array_equal(episode.actions, demo["actions"][::4])
        assert episode.rewards.tolist() == [*[0.0] * (len(episode) - 1), 1.0]
        assert len(episode) == -(-len(demo["actions"]) // 4)
        assert "by 'hold'" in episode.source["notes"]


def test_actions_that_leave_the_bounds_widen_them(tmp_path):
    def far(data):
        data["demo_1/actions"][2, 3] = -2.5

    with taken(raw(tmp_path / "raw.hdf5", far), tmp_path / "a.hdf5") as dataset:
        kwargs = dataset.env_args["env_kwargs"]
        assert kwargs["action_low"] == [-1, -1, -1, -2.5, -1, -1, -1]
        episode = dataset.episode("demo_1")
        assert episode.actions[2, 3] == -1
        assert episode.native_actions[2, 3] == -2.5
        assert "leave the declared bounds in 1 of 7" in episode.source["notes"]


def test_an_export_says_what_robomimic_asks_for(tmp_path):
    out, exported = tmp_path / "a.hdf5", tmp_path / "b.hdf5"
    import_dataset(
        raw(tmp_path / "raw.hdf5"), out, "robomimic", ImportOptions(keys={"states": "a.b"})
    )
    note = export_dataset(out, exported, "robomimic").note
    assert note == "2 episodes without rewards have zeros; a_b is a.b"
    with h5py.File(exported) as file:
        env_args = json.loads(file["data"].attrs["env_args"])
        assert (env_args["env_name"], env_args["type"]) == ("Lift", 1)
        assert env_args["env_kwargs"] == {"robots": ["Panda"], "control_freq": 20}
        assert env_args["action_low"] == [-1.0] * 7
        assert list(file["data/demo_1/obs"]) == ["a_b"]
        assert file["data/demo_1/rewards"][:].tolist() == [0.0] * 5
    import_dataset(exported, tmp_path / "c.hdf5", "robomimic")
    with DemoDataset.open(out) as ours, DemoDataset.open(tmp_path / "c.hdf5") as again:
        assert ours.env_args == again.env_args
        assert again.episode("demo_1").rewards is None
        assert list(again.episode("demo_1").observations) == ["a.b"]
    with pytest.raises(UsageError, match="exported by vand-robot, so all of it comes back"):
        import_dataset(exported, tmp_path / "d.hdf5", "robomimic", ImportOptions(tasks=("lift",)))


def _nan(data):
    data["demo_2/actions"][3, 6] = np.nan


def _seen_nan(data):
    for name in data:
        data[name]["obs/q"] = np.zeros((len(data[name]["actions"]), 2))
    data["demo_2/obs/q"][4, 1] = np.inf


def _wide(data):
    del data["demo_2/actions"]
    data["demo_2/actions"] = np.zeros((7, 8))


def _short(data):
    del data["demo_2/states"]
    data["demo_2/states"] = np.zeros((6, 32))


def _linked(data):
    del data["demo_2/states"]
    data["demo_2/states"] = h5py.ExternalLink("/etc/passwd", "/data")


def _huge(data):
    del data["demo_2/states"]
    data["demo_2"].create_dataset("states", (7, 10**9), np.float64, chunks=(1, 1024))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_nan, r"demo_2: actions\[3, 6\] = nan is not finite"),
        (_seen_nan, r"raw.hdf5: demo_2: obs/q\[4, 1\] = inf is not finite"),
        (_wide, "demo_2: actions: expected 7 numbers a step as in demo_1, got 8"),
        (
            _short,
            r"demo_2: states: expected 7 steps as in actions|expected 7 steps \(as in actions",
        ),
        (_linked, "demo_2: states: expected an array of this file, got a group or a link"),
        (_huge, "expected at most 1.07 GB in memory, got 56 GB"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, change, words):
    out = tmp_path / "a.hdf5"
    out.write_bytes(b"before")
    with pytest.raises(VandError, match=words) as caught:
        import_dataset(raw(tmp_path / "raw.hdf5", change), out, "robomimic", overwrite=True)
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "raw.hdf5"]


def test_mistakes_in_what_is_asked_for(tmp_path):
    path, silent = raw(tmp_path / "raw.hdf5"), raw(tmp_path / "silent.hdf5", env_info="{}")
    for source, options, words in (
        (path, {"keys": {"state": "q"}}, "unknown observation key 'state'.*did you mean 'states'"),
        (path, {"images": ("agentview_image",)}, "unknown image observation 'agentview_image'"),
        (path, {"tasks": ("lifft",)}, "unknown task 'lifft'.*did you mean 'lift'"),
        (path, {"phrasings": {"up": "lift"}}, "unknown instruction 'up'"),
        (path, {"source_rate_hz": 30.0}, "says that its control rate is 20 Hz"),
        (silent, {}, "does not tell its control rate: give --source-rate HZ"),
    ):
        with pytest.raises(UsageError, match=words):
            import_dataset(source, tmp_path / "a.hdf5", "robomimic", ImportOptions(**options))
    with pytest.raises(UsageError, match="rate: expected 1 to 1000 Hz, got 0"):
        ImportOptions(rate_hz=0.0)
    with pytest.raises(UsageError, match="two observations get the name 'q'"):
        ImportOptions(keys={"a": "q", "b": "q"})
    assert not (tmp_path / "a.hdf5").exists()
