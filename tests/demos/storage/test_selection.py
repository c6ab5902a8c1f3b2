import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from vand_demos import DemoDataset, write_dataset
from vand_demos.storage.editing import select
from vand_demos.storage.selection import EpisodeFilter
from vand_envs.errors import UsageError, VandError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "set.hdf5"
    episodes = [
        episode(0, steps=5),
        episode(1, steps=7, task="stow-cube"),
        episode(2, steps=9, success=False),
        episode(3, steps=30, device="web"),
    ]
    write_dataset(path, episodes, ENV_ARGS, {"train": [0, 1, 2], "valid": [3]})
    return path


@pytest.mark.parametrize(
    ("criteria", "numbers"),
    [
        (EpisodeFilter(), [0, 1, 2, 3]),
        (EpisodeFilter(tasks=("wipe",)), [0, 2, 3]),
        (EpisodeFilter(tasks=("wipe", "stow-cube"), success=True), [0, 1, 3]),
        (EpisodeFilter(success=False), [2]),
        (EpisodeFilter(devices=("web",)), [3]),
        (EpisodeFilter(min_s=0.7, max_s=0.9), [1, 2]),
        (EpisodeFilter(split="valid"), [3]),
        (EpisodeFilter(tasks=("stow-cube",), success=False), []),
    ],
)
def test_episodes_are_chosen_by_what_is_said_of_them(path, criteria, numbers):
    with DemoDataset.open(path) as dataset:
        assert criteria.select(dataset) == tuple(f"demo_{n}" for n in numbers)


def test_names_that_nobody_knows_are_refused(path):
    with DemoDataset.open(path) as dataset:
        with pytest.raises(UsageError, match=r"unknown task 'wip'.*did you mean 'wipe'"):
            EpisodeFilter(tasks=("wip",)).select(dataset)
        with pytest.raises(UsageError, match=r"unknown split 'trian'.*'train'"):
            EpisodeFilter(split="trian").select(dataset)
    with pytest.raises(UsageError, match="unknown device 'webb'"):
        EpisodeFilter(devices=("webb",))
    for low, high in ((2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)):
        with pytest.raises(UsageError, match="expected 0 <= shortest <= longest"):
            EpisodeFilter(min_s=low, max_s=high)


def test_picked_episodes_keep_names_masks_and_bytes(path, tmp_path):
    out = tmp_path / "out.hdf5"
    assert select(path, out, ["demo_3", "demo_1"]) == ("demo_1", "demo_3")
    with DemoDataset.open(out) as ours, DemoDataset.open(path) as theirs:
        assert ours.split("valid") == ("demo_3",)
        assert ours.episode("demo_1").uid == theirs.episode("demo_1").uid
    with pytest.raises(UsageError, match="unknown episode 'demo_9'"):
        select(path, tmp_path / "none.hdf5", ["demo_9"])
    with pytest.raises(VandError, match="no episode would be left"):
        select(path, tmp_path / "none.hdf5", [])
    assert not (tmp_path / "none.hdf5").exists()
