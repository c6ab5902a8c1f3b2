"""LeRobot and Minari sets that their own code wrote: `tests/fixtures` has the scripts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_demos.interop import ImportOptions, import_dataset
from vand_demos.storage.check import iterate_check
from vand_envs.errors import UsageError, VandError

pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("av")
pytest.importorskip("minari")

LEROBOT = Path("tests/fixtures/lerobot_v3")
OLDER = Path("tests/fixtures/lerobot_v2")
PENDULUM = Path("tests/fixtures/minari/pendulum-v0")
VIDEO = "observation.images.top"


def taken(folder: Path, out: Path, form: str = "lerobot", **options) -> DemoDataset:
    import_dataset(folder, out, form, ImportOptions(**options))
    assert not [text for kind, text in iterate_check(out) if kind == "fault"]
    return DemoDataset.open(out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(LEROBOT, tmp_path / "reach")


def rewrite(path: Path, **columns) -> None:
    """Writes a table anew with some columns changed by functions of their values."""
    table = pq.read_table(path)
    for name, change in columns.items():
        key = name.replace("__", ".")
        values = change(table[key].to_pylist())
        field = table.schema.field(key)
        table = table.set_column(table.column_names.index(key), field.name, [values])
    pq.write_table(table, path)


@pytest.mark.parametrize("source", [LEROBOT, OLDER], ids=lambda path: path.name)
def test_a_set_of_lerobot_comes_in_with_video_tasks_and_units(tmp_path, source):
    with taken(source, tmp_path / "a.hdf5", images=("all",)) as dataset:
        kwargs = dataset.env_args["env_kwargs"]
        assert kwargs["robot"] == "two_joints"
        assert kwargs["control_dt_s"] == 1 / 15
        assert kwargs["instructions"] == ["reach-left", "reach-right", "reach-to-the-left"]
        assert len(dataset) == 4
        for number, name in enumerate(dataset.names):
            episode = dataset.episode(name)
            goal = (-1) ** number * (20 + 3 * number)
            assert len(episode) == 20 + number
            assert episode.success is (number != 3)
            assert np.all(episode.observations["observation.goal"] == goal)
            state = episode.observations["observation.state"]
            assert np.allclose(episode.native_actions[:-1], state[1:], atol=1e-5)
            assert np.abs(episode.native_actions[:, 0]).max() > 15  # degrees
            assert episode.rewards[0] == pytest.approx(-abs(goal - episode.native_actions[0, 0]))
            task = kwargs["instructions"].index(episode.task)
            assert np.all(episode.observations["instruction"] == np.eye(3)[task])
            _assert_seen(episode.observations[VIDEO], goal)
        assert "those of its data" in episode.source["notes"]


def _assert_seen(frames: np.ndarray, goal: float) -> None:
    """The red square is where the goal is, and the blue bar has the length of the step."""
    assert frames.shape[1:] == (48, 64, 3)
    red = (frames[..., 0] > 150) & (frames[..., 2] < 110)
    columns = [np.flatnonzero(one.any(0)).mean() for one in red[:, 18:30]]
    assert np.allclose(columns, np.clip(32 + goal, 4, 59) - 0.5, atol=1.5)
    blue = [((one[4, :, 2] > 150) & (one[4, :, 0] < 110)).sum() for one in frames]
    expected = np.minimum(3 * np.arange(len(frames)), 64)
    assert np.all(np.abs(blue - expected) <= 4)  # video is lossy


def test_several_phrasings_become_one_task(tmp_path):
    same = dict.fromkeys(("Reach left.", "reach to the left"), "reach-left")
    with taken(LEROBOT, tmp_path / "a.hdf5", phrasings=same) as dataset:
        assert dataset.tasks == ("reach-left", "reach-right")
        assert [dataset.attribute(n, "instruction") for n in dataset.names][::2] == list(same)
        assert dataset.observation_shapes("demo_0")["instruction"] == (2,)
    with taken(LEROBOT, tmp_path / "b.hdf5", tasks=("Reach left.",)) as dataset:
        assert dataset.names == ("demo_0",)
        assert "instruction" not in dataset.observation_shapes("demo_0")
        assert dataset.array("demo_0", "actions").max() == 1


def test_given_bounds_stand_and_fit_other_sets(tmp_path):
    given = ((-180.0, 180.0), (0.0, 90.0))
    with taken(LEROBOT, tmp_path / "a.hdf5", bounds=given) as dataset:
        episode = dataset.episode("demo_0")
        assert (episode.action_low.tolist(), episode.action_high.tolist()) == ([-180, 0], [180, 90])
        assert np.allclose(episode.native_actions[0], [4, 11], atol=1e-4)
        assert "notes" not in episode.source or "bounds" not in episode.source["notes"]
    for bounds, words in (
        (((1.0, 1.0),), "expected LOW below HIGH, got 1:1"),
        (((0.0, 1.0),) * 3, "bounds: expected 2, one for each number, got 3"),
    ):
        with pytest.raises(UsageError, match=words):
            import_dataset(LEROBOT, tmp_path / "b.hdf5", "lerobot", ImportOptions(bounds=bounds))


def test_a_set_of_minari_comes_in(tmp_path):
    with taken(PENDULUM, tmp_path / "a.hdf5", "minari", source_rate_hz=20.0) as dataset:
        episode = dataset.episode("demo_2")
        assert (len(dataset), len(episode), episode.seed, episode.success) == (4, 30, 2, None)
        assert episode.task == "pendulum-v1"
        assert episode.action_low.tolist() == [-2.0]
        seen, after = (x["observation"] for x in (episode.observations, episode.next_observations))
        assert np.array_equal(seen[1:], after[:-1])
        assert np.allclose(np.hypot(seen[:, 0], seen[:, 1]), 1, atol=1e-6)
        assert episode.rewards.max() < 0
        assert dataset.env_args["env_kwargs"]["source_env"]["env_name"] == "Pendulum-v1"
    with pytest.raises(UsageError, match="does not tell its control rate: give --source-rate"):
        import_dataset(PENDULUM, tmp_path / "b.hdf5", "minari")


def _edit(folder: Path, **changes) -> None:
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _frames(folder: Path) -> Path:
    return folder / "data/chunk-000/file-000.parquet"


def _cut_video(folder: Path) -> None:
    path = folder / f"videos/{VIDEO}/chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[:4000])


def _lead_out(folder: Path) -> None:
    path = _frames(folder)
    outside = folder.parent / "outside.parquet"
    path.rename(outside)
    path.symlink_to(outside)


def _off_time(values: list) -> list:
    return [t + 0.5 if i == 7 else t for i, t in enumerate(values)]


def _not_a_number(values: list) -> list:
    return [[float("nan"), v[1]] if i == 25 else v for i, v in enumerate(values)]


BAD = {
    "another version": (
        lambda f: _edit(f, codebase_version="v1.6"),
        r"codebase_version: expected v3.0 or v2.1, got 'v1.6'",
    ),
    "paths of its own": (lambda f: _edit(f, data_path="../../etc/passwd"), "data_path: expected"),
    "a link out of it": (_lead_out, "leads out of its folder"),
    "a link to itself": (
        lambda f: (_frames(f).unlink(), _frames(f).symlink_to(_frames(f))),
        "cannot read .*file-000.parquet: Too many levels of symbolic links",
    ),
    "a video that is cut": (_cut_video, r"cannot decode .*file-000\.mp4"),
    "mixed rates": (
        lambda f: rewrite(_frames(f), timestamp=_off_time),
        r"episode_0: timestamp\[7\] = 0.966667 s: expected 0.466667 s, at 15 frames",
    ),
    "not a number": (
        lambda f: rewrite(_frames(f), action=_not_a_number),
        r"episode_1: actions\[5, 0\] = nan is not finite",
    ),
    "a frame is missing": (
        lambda f: pq.write_table(pq.read_table(_frames(f)).slice(1), _frames(f)),
        "episode_0: expected 20 frames, got 19",
    ),
    "no info": (lambda f: (f / "meta/info.json").unlink(), "expected meta/info.json"),
    "an image of another size": (
        lambda f: _edit(
            f,
            features=json.loads((f / "meta/info.json").read_text())["features"]
            | {VIDEO: {"dtype": "video", "shape": [96, 64, 3], "names": None}},
        ),
        "expected 96 x 64, got 48 x 64",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_folder_is_one_line_and_nothing_is_written(folder, tmp_path, kind):
    damage, words = BAD[kind]
    damage(folder)
    with pytest.raises(VandError, match=words) as caught:
        import_dataset(folder, tmp_path / "a.hdf5", "lerobot", ImportOptions(images=("all",)))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("a.hdf5*"))


def test_a_task_that_changes_on_the_way_needs_an_instruction(folder, tmp_path):
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    rewrite(path, tasks=lambda tasks: [["this", "that"], *tasks[1:]])
    with pytest.raises(VandError, match=r"episode_0: its task changes on the way \(this, that\)"):
        import_dataset(folder, tmp_path / "a.hdf5", "lerobot")
    taken(folder, tmp_path / "a.hdf5", instruction="reach").close()
