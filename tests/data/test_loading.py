from pathlib import Path

import numpy as np
import pytest

from tests.helpers.runs import (
    make_episode,
    override,
    random_episode,
    small_config,
    write,
    write_random,
)
from vand_demos import DemoDataset
from vand_envs.errors import UsageError, VandError
from vand_robot.config.schema import TrainConfig
from vand_robot.data.loading import load_data
from vand_robot.evaluation.reference import references_from_datasets


def test_an_empty_list_of_files_is_refused():
    with pytest.raises(UsageError, match="no data"):
        load_data(TrainConfig())


def test_an_unknown_task_gets_a_suggestion(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"), "tasks=[wpie]")
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        load_data(config)


def test_failures_are_left_out_unless_asked_for(tmp_path: Path):
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, "wipe", 5, seed=i, success=i > 0) for i in range(4)]
    failed = random_episode(rng, "stow-cube", 5, success=False)
    data = write(tmp_path / "d.hdf5", [*episodes, failed])
    config = small_config(data, "valid_fraction=0")
    assert len(load_data(config).train) == 3
    assert len(load_data(override(config, ["only_successful=false"])).train) == 5
    with pytest.raises(VandError, match="no successful demonstration of task 'stow-cube'"):
        load_data(override(config, ["tasks=[stow-cube, wipe]"]))


def write_changing(path: Path) -> Path:
    """A demonstration of wipe alone, and one in which stow-cube is told until the middle."""
    rng = np.random.default_rng(0)
    told = np.repeat(np.arange(2), 4)  # of stow-cube, wipe
    episodes = [
        random_episode(rng, "wipe", 8, seed=0),
        random_episode(rng, "wipe", 8, seed=1, step_tasks=told),
    ]
    return write(path, episodes)


@pytest.mark.parametrize("stream", [False, True])
def test_the_instruction_that_is_trained_on_follows_the_steps_task(tmp_path: Path, stream: bool):
    data = write_changing(tmp_path / "d.hdf5")
    config = small_config(data, "valid_fraction=0", f"stream={str(stream).lower()}")
    loaded = load_data(config)
    batch = next(batch for _, batch in loaded.train.per_task(2))
    told = batch.observations[..., loaded.spec.columns("instruction")].argmax(-1)
    assert sorted(map(tuple, told.T.tolist())) == [(0,) * 4 + (1,) * 4, (1,) * 8]
    loaded.close()


def test_a_policy_that_is_not_told_cannot_learn_from_a_changed_instruction(tmp_path: Path):
    data = write_changing(tmp_path / "d.hdf5")
    config = small_config(data, "policy.observations=[ee_pos]")
    with pytest.raises(UsageError, match=r"demo_1: the instruction changes .stow-cube then wipe"):
        load_data(config)


def test_what_tells_a_task_that_is_not_chosen_is_left_out(tmp_path: Path):
    data = write_changing(tmp_path / "d.hdf5")
    assert len(load_data(small_config(data, "valid_fraction=0")).train) == 2
    assert len(load_data(small_config(data, "valid_fraction=0", "tasks=[wipe]")).train) == 1


@pytest.mark.parametrize(
    "change", [{"robot": "tiago"}, {"instructions": ["wipe", "stow-cube"]}], ids=str
)
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, change: dict[str, object]):
    a, b = write_random(tmp_path / "a.hdf5"), write_random(tmp_path / "b.hdf5", **change)
    config = override(small_config(a), [f"data=[{a}, {b}]"])
    with pytest.raises(VandError, match=f"b.hdf5.*{next(iter(change))}"):
        load_data(config)


@pytest.mark.parametrize("files", [1, 2])
def test_the_same_recording_twice_is_refused(tmp_path: Path, files: int):
    data = write_random(tmp_path / "a.hdf5")
    names = "a.hdf5: demo_0", "a.hdf5: demo_0"
    if files == 2:
        rng = np.random.default_rng(9)
        with DemoDataset.open(data) as dataset:
            copied = [random_episode(rng, "wipe", 5, seed=9), dataset.episode("demo_2")]
        write(tmp_path / "b.hdf5", copied)
        names = "b.hdf5: demo_1", "a.hdf5: demo_2"
    config = override(small_config(data), [f"data=[{data}, {tmp_path / 'ab'[files - 1]}.hdf5]"])
    with pytest.raises(VandError, match=f"{names[0]} is the same recording as .*{names[1]}$"):
        load_data(config)


def test_references_need_a_success_and_its_reward(tmp_path: Path):
    rng = np.random.default_rng(0)

    def recorded(name: str, task: str, *, success: bool) -> Path:
        steps = {key: np.zeros((5, 3), np.float32) for key in ("base_pose", "ee_pos")}
        episode = make_episode(steps, rng.uniform(-1, 1, (5, 10)), task=task, success=success)
        return write(tmp_path / name, [episode])

    failed = recorded("failed.hdf5", "wipe", success=False)
    with pytest.raises(VandError, match=r"failed\.hdf5: no successful demonstration of wipe"):
        references_from_datasets([failed], ["wipe"])
    unpaid = recorded("unpaid.hdf5", "stow-cube", success=True)
    with pytest.raises(VandError, match=r"unpaid\.hdf5: demo_0: success: .* rewards are zero"):
        references_from_datasets([unpaid])


def test_files_with_other_observations_are_refused(tmp_path: Path):
    a = write_random(tmp_path / "a.hdf5")
    wide = {"ee_pos": np.zeros((5, 4), np.float32), "gripper": np.zeros((5, 2), np.float32)}
    b = write(tmp_path / "b.hdf5", [make_episode(wide, np.zeros((5, 10)))])
    config = override(small_config(a), [f"data=[{a}, {b}]"])
    with pytest.raises(VandError, match="ee_pos"):
        load_data(config)


def test_splits_stored_in_a_file_are_used(tmp_path: Path):
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, "wipe", 3 + i, seed=i) for i in range(6)]
    data = write(tmp_path / "d.hdf5", episodes, {"train": [0, 2, 5], "valid": [1]})
    loaded = load_data(small_config(data))
    assert loaded.train.lengths.tolist() == [3, 5, 8]
    assert loaded.valid.lengths.tolist() == [4]


def test_the_split_is_seeded_and_holds_back_of_every_task(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5", per_task=10)
    config = small_config(data, "valid_fraction=0.2")
    first, again = load_data(config), load_data(config)
    other = load_data(override(config, ["seed=1"]))
    assert {task: len(group) for task, group in first.valid.groups.items()} == {
        "stow-cube": 2,
        "wipe": 2,
    }
    assert first.train.fingerprint == again.train.fingerprint != other.train.fingerprint


def test_the_policy_sees_only_the_observations_it_is_told_to(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5")
    config = small_config(data, "policy.observations=[instruction, ee_pos]")
    assert list(load_data(config).spec.observations.items()) == [("instruction", 2), ("ee_pos", 3)]
    with pytest.raises(UsageError, match="did you mean 'gripper'"):
        load_data(override(config, ["policy.observations=[griper]"]))


def test_a_home_of_nobody_is_one_line_and_a_folder_of_that_name_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = override(TrainConfig(), ["data=~nosuchuser/d.hdf5"])
    with pytest.raises(UsageError, match="no user or folder '~nosuchuser'"):
        load_data(config)
    (tmp_path / "~nosuchuser").mkdir()
    write_random(tmp_path / "~nosuchuser" / "d.hdf5")
    assert len(load_data(config).train) > 0


def test_without_data_the_command_that_records_them_is_named():
    images = "policy.images.keys=head_rgb,wrist_rgb"
    with pytest.raises(UsageError) as caught:
        load_data(override(TrainConfig(), ["tasks=wipe", images]))
    command = "vand-robot record wipe --episodes 50 --out demos.hdf5 --images head_rgb,wrist_rgb"
    assert command in str(caught.value)
