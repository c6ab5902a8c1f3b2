"""The player, without a window."""

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_envs import get_task
from vand_envs.errors import UsageError
from vand_robot.evaluation.jobs import play
from vand_robot.evaluation.target import load_target
from vand_robot.viewer.episodes import Frame
from vand_robot.viewer.memory_plot import SIZE, MemoryPlot
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest, episode_job
from vand_robot.viewer.scene import SceneView

SECONDS = 3.0
DT = 0.1


def watch(source, **options):
    """The player of what a person asks for."""
    return open_player(ReplayRequest(source, viewer="web", **options))


@pytest.fixture
def live(run):
    return watch(run, task="wipe", seconds=SECONDS)


@pytest.fixture
def recorded(demos):
    return watch(demos)


def states(player):
    return np.array([frame.state for frame in player.source.frames])


def test_time_goes_by_at_the_chosen_speed_until_the_end(live):
    live.tick(0.5)
    assert live.time_s == 0  # nobody pressed play
    live.play()
    live.tick(0.5)
    assert live.time_s == pytest.approx(0.5)
    live.set_speed(2.0)
    live.tick(0.5)
    assert live.time_s == pytest.approx(1.5)
    live.tick(10.0)
    assert live.time_s == pytest.approx(SECONDS)
    assert live.paused
    live.play()  # again from the beginning
    assert live.time_s == 0
    assert not live.paused


def test_speed_changes_in_fixed_steps_within_limits(live):
    live.faster()
    assert live.speed == 2.0
    for _ in range(9):
        live.faster(-1)
    assert live.speed == 0.1
    with pytest.raises(UsageError, match=r"speed: expected one of 0\.1, .* got 3"):
        live.set_speed(3.0)


def test_steps_go_from_frame_to_frame_and_pause(live):
    live.play()
    live.tick(0.25)
    live.step_by(1)
    assert live.paused
    assert live.step == 3
    live.tick(1.0)
    assert live.step == 3
    live.step_by(-5)
    assert live.step == 0


def test_seeking_back_shows_known_frames_without_a_new_rollout(live):
    live.seek(2.0)
    later = live.frame
    assert len(live.source.frames) == 21
    live.seek(0.5)
    assert live.step == 5
    live.seek(2.0)
    assert live.frame is later


@pytest.mark.parametrize("perturbation", ["nominal", "push", "slip", "switch"])
def test_a_live_rollout_is_the_evaluated_episode_to_the_last_bit(run, perturbation):
    target = load_target(run)
    seconds = None if perturbation == "switch" else 7.0
    job = episode_job(target, "wipe", 3, seconds, perturbation=perturbation)
    evaluated = play(target.make_policy(), job)
    player = watch(run, task="wipe", index=3, seconds=seconds, perturbation=perturbation)
    player.seek(1.0)
    player.step_by(-4)
    player.seek(1e9)
    assert len(player.source.frames) == job.steps + 1
    nq = player.source.world.model.nq
    np.testing.assert_array_equal(states(player)[:, 1 : 1 + nq], evaluated.qpos[:, 0])
    assert not player.live.touched


def test_the_next_seed_is_another_episode_and_the_first_comes_again(live):
    live.seek(0.5)
    first = states(live)
    live.next()
    assert (live.source.number, live.step) == (1, 0)
    live.seek(0.5)
    assert not np.array_equal(states(live), first)
    live.next(-1)
    live.seek(0.5)
    np.testing.assert_array_equal(states(live), first)


def test_another_instruction_takes_effect_at_the_shown_frame(live):
    live.seek(2.0)
    before = states(live)
    live.seek(1.0)
    live.instruct("stow-cube")
    assert live.frame.instruction == get_task("stow-cube").instruction
    assert "stage 1 of" in live.frame.progress_text
    assert live.live.touched
    live.seek(2.0)
    after = states(live)
    np.testing.assert_array_equal(after[:11], before[:11])
    assert not np.array_equal(after[11:], before[11:])
    assert live.length_s == pytest.approx(1.0 + get_task("stow-cube").horizon_s)
    live.seek(0.9)
    assert live.frame.task == "wipe"
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        live.instruct("wip")


def test_an_interference_before_the_switch_of_an_episode_leaves_the_switch(run):
    player = watch(run, task="wipe", perturbation="switch")
    (switch,) = player.source._changes
    player.seek((switch + 2) * DT)
    assert player.frame.task == "wipe"
    player.seek(1.0)
    first = player.frame.task
    assert first != "wipe"
    player.push("base", "left")
    player.seek((switch - 1) * DT)
    assert player.frame.task == first
    player.seek((switch + 2) * DT)
    assert player.frame.task == "wipe"
    player.seek(1.0)
    player.instruct("wipe")  # until the episode's own instruction comes, which is the same here
    assert player.live.touched
    player.seek((switch + 2) * DT)
    assert player.source._changes == {10: "wipe", switch: "wipe"}


def test_a_push_moves_the_base_to_where_it_was_pushed(live):
    live.seek(2.0)
    undisturbed = live.source.frames[15].state
    live.seek(1.0)
    live.push("base", "left")
    live.seek(1.5)
    model = live.source.world.model
    x, y, yaw = (
        1 + model.joint(f"robot/{joint}").qposadr[0]
        for joint in live.source.world.robot.base_joints
    )
    moved = live.frame.state - undisturbed
    turn = undisturbed[yaw]
    assert -np.sin(turn) * moved[x] + np.cos(turn) * moved[y] > 0.01
    live.next()
    live.next(-1)
    live.seek(1.5)  # the episode itself is as it was
    np.testing.assert_array_equal(live.frame.state, undisturbed)
    with pytest.raises(UsageError, match=r"direction 'lef'.*did you mean 'left'"):
        live.push("base", "lef")


def test_pushes_at_the_last_known_frame_add_up_without_a_new_rollout(live):
    live.play()
    live.tick(0.55)
    known = len(live.source.frames)
    live.push("hand", "back")
    live.push("base", "ahead")
    assert len(live.source.frames) == known  # nothing had to be rolled out again
    live.tick(0.5)
    assert live.step == 10


def test_a_demonstration_is_shown_from_its_states(recorded, demos):
    with DemoDataset.open(demos) as dataset:
        demo = dataset.episode("demo_0")
    recorded.step_by(7)
    np.testing.assert_array_equal(recorded.frame.state, demo.states[7])
    recorded.seek(1e9)
    assert recorded.step == len(demo) - 1
    assert recorded.frame.success
    assert "stages done" in recorded.frame.progress_text


def test_demonstrations_are_chosen_by_task_and_number(recorded, demos):
    assert recorded.source.tasks == ("stow-cube", "wipe")
    recorded.next(-1)
    assert "demo_3" in recorded.source.title
    recorded.next()
    assert "demo_0" in recorded.source.title
    recorded.open("wipe", 1)
    assert "demo_5" in recorded.source.title
    assert recorded.frame.progress_text == "0.0 circles"
    with pytest.raises(UsageError, match="expected 0 to 3"):
        recorded.open("wipe", 4)
    assert "demo_5" in recorded.source.title
    assert "demo_6" in watch(demos, episode="demo_6").source.title


def test_small_negative_progress_is_shown_as_zero():
    assert Frame(np.zeros(1), "wipe", 0, -0.02, success=False).progress_text == "0.0 circles"


def test_a_rhythm_is_not_called_a_success_while_it_runs():
    state = np.zeros(1)
    going = Frame(state, "wipe", 0, 8.7, success=True)
    assert going.standing == "8.7 circles (3 make a demonstration)"
    assert Frame(state, "wipe", 0, 2.1, success=False).standing == "2.1 circles"
    assert Frame(state, "stow-cube", 4, 0.0, success=True).standing == "all 4 stages done, success"


def test_a_recording_cannot_be_interfered_with(recorded):
    recorded.attempt(lambda: recorded.push("base", "left"))
    assert recorded.message.startswith("a recording cannot be interfered with")
    recorded.attempt(recorded.play)
    assert recorded.message == ""


def test_a_policy_and_a_demonstration_stand_side_by_side(run, demos):
    player = watch(run, task="stow-cube", beside=str(demos))
    assert player.beside.task == "stow-cube"
    scene = SceneView(player)
    player.seek(2.0)
    pose, model = scene.pose(), scene.model
    alone = player.beside.frames[20].state
    small = player.beside.world.model
    shift = model.body("beside/robot/base").pos[0]
    for joint in ("cube", "robot/base_x", "robot/arm_3"):
        old, new = small.joint(joint).qposadr[0], model.joint(f"beside/{joint}").qposadr[0]
        assert pose.qpos[new] == pytest.approx(alone[1 + old] + shift * (joint == "cube"))
    gap = pose.body("beside/tray").xpos - pose.body("tray").xpos
    np.testing.assert_allclose(gap[1:], 0, atol=1e-12)
    assert gap[0] > 3
    assert pose.body("beside/cube").xpos[0] > 3
    player.open("wipe", 0)
    assert player.beside.task == "wipe"
    assert scene.is_current


def test_the_expert_acts_beside_on_the_same_seed(run):
    player = watch(run, task="wipe", seconds=SECONDS, beside="expert")
    player.next()
    player.seek(1.0)
    a, b = player.source.frames, player.beside.frames
    np.testing.assert_array_equal(a[0].state, b[0].state)
    assert not np.array_equal(a[10].state, b[10].state)
    assert b[10].memory is None


def test_the_error_names_what_cannot_be_opened(run, demos, tmp_path):
    for match, source, options in (
        ("no run and no data set", tmp_path / "missing", {}),
        ("did you mean 'wipe'", run, {"task": "wip"}),
        ("did you mean 'wipe'", demos, {"task": "wip"}),
        ("did you mean 'demo_1'", demos, {"episode": "demo1"}),
        ("use --index", run, {"episode": "demo_0"}),
        ("--beside: expected a data set", run, {"beside": "exprt"}),
    ):
        with pytest.raises(UsageError, match=match):
            watch(source, **options)


def test_the_plot_of_the_memory_shows_the_path_up_to_the_moment(live):
    live.seek(SECONDS)
    plot = MemoryPlot()
    early, late = (plot.draw(live.source.frames, step) for step in (3, 30))
    assert early.shape == (SIZE[1], SIZE[0], 3)
    blue = [(image[..., 2] > image[..., 0].astype(int) + 60).sum() for image in (early, late)]
    assert blue[1] > 1.2 * blue[0] > 0


def test_the_plot_keeps_its_directions_while_the_episode_goes_on():
    points = np.random.default_rng(0).normal(size=(40, 6)) * [9, 4, 1, 1, 1, 1]
    frames = [
        Frame(np.zeros(1), "wipe", 0, 0.0, False, memory=point.astype(np.float32))
        for point in points
    ]
    plot = MemoryPlot()
    plot.draw(frames[:30], 0)
    before = plot._directions
    for count in range(31, 41):
        plot.draw(frames[:count], 0)
        assert ((plot._directions * before).sum(axis=1) > 0.5).all()
        before = plot._directions
