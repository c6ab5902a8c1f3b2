import numpy as np
import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from tests.helpers.kills import killed_before_rename, left_behind
from vand_demos import DemoDataset, write_dataset
from vand_envs import TaskBatch
from vand_envs.errors import UsageError
from vand_robot.figures.demonstrations import BINS, Trajectory, action_histograms, durations
from vand_robot.workflows.plot_dataset import read_trajectory, write_figures


def test_the_hand_is_where_the_simulator_has_it(demos):
    with DemoDataset.open(demos) as dataset:
        path = read_trajectory(dataset, "demo_0")
        demo = dataset.episode("demo_0")
    simulation = TaskBatch(demo.task, 1).simulation
    for step in (0, len(demo) // 2, len(demo) - 1):
        simulation.restore(demo.states[step : step + 1])
        assert np.allclose(path.hand[step], simulation.site_xpos[0, simulation.ee_site], atol=1e-5)
        assert np.allclose(path.base[step], simulation.qpos[0, simulation.base_qpos[:2]], atol=1e-6)
    assert isinstance(path, Trajectory)
    assert path.success


def test_every_task_gets_a_picture_and_none_is_replaced_unasked(demos, tmp_path):
    out = tmp_path / "figures"
    written = write_figures(demos, out)
    names = {"durations.png", "actions.png", "stow-cube.png", "wipe.png"}
    assert {path.name for path in written} == {path.name for path in out.iterdir()} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    with pytest.raises(UsageError, match=r"durations\.png exists already"):
        write_figures(demos, out)
    assert write_figures(demos, out, force=True) == written


def test_pictures_that_a_kill_left_half_written_go_with_the_next_run(demos, tmp_path):
    assert killed_before_rename(0, lambda: write_figures(demos, tmp_path))
    assert left_behind(tmp_path) == ["durations.png.tmp"]
    write_figures(demos, tmp_path)
    assert not left_behind(tmp_path)


def test_histograms_hold_every_step_once():
    counts = {"gripper": np.eye(BINS, dtype=np.int64)[3], "base_twist x": np.ones(BINS, np.int64)}
    figure = action_histograms(counts)
    first, second = figure.axes[:2]
    assert first.get_title(loc="left") == "gripper"
    for axes in (first, second):
        assert axes.patches[0].get_data().values.sum() == pytest.approx(1.0)


def test_durations_name_each_task_with_its_median():
    axes = durations({"wipe": [1.0, 2.0, 9.0], "stir": [4.0]}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wipe", "stir"]
    assert [text.get_text() for text in axes.texts] == ["2.0 s", "4.0 s"]


def test_of_a_data_set_without_poses_what_was_observed_is_drawn(tmp_path):
    path = tmp_path / "a.hdf5"
    write_dataset(path, [episode(0)], ENV_ARGS)
    names = {picture.name for picture in write_figures(path, tmp_path / "figures")}
    assert names == {"durations.png", "actions.png", f"{episode(0).task}.png"}
