"""Perturbations: how strong they are, and that they spare what they should."""

import numpy as np
import pytest

from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.errors import VandError
from vand_robot.evaluation.perturbations import (
    NOMINAL,
    PERTURBATIONS,
    ActuationNoise,
    ExternalPush,
    ObservationNoise,
    Perturbation,
    RolloutContext,
    streams,
    task_before,
)

N, STEPS, DT = 4, 400, 0.1


@pytest.fixture(scope="module")
def batch():
    batch = TaskBatch("wipe", N)
    batch.reset(range(N))
    return batch


def begin(perturbation, batch, seeds=range(N), mode="ee_twist"):
    drawn = streams("wipe", perturbation.name, seeds)
    return perturbation.begin(RolloutContext(drawn, mode, STEPS, DT, batch.simulation))


def test_sensor_noise_has_its_magnitudes_and_spares_the_instruction(batch):
    sensor = ObservationNoise()
    noisy, clean = begin(sensor, batch), batch.observe()
    seen = [noisy.seen(clean) for _ in range(300)]
    errors = {key: np.stack([noise[key] - clean[key] for noise in seen]) for key in clean}
    assert not errors.pop("instruction").any()
    assert errors["cube_rel"].std() == pytest.approx(sensor.object_position_m, rel=0.05)
    assert errors["ee_lag"].std() == pytest.approx(sensor.lag_m, rel=0.05)
    assert errors["joint_vel"][..., 1:].std() == pytest.approx(sensor.speed_rads, rel=0.05)
    assert errors["base_pose"][..., :2].std() == pytest.approx(sensor.base_position_m, rel=0.1)
    assert all(error.std() > 0 for error in errors.values())
    assert {value.dtype for value in seen[0].values()} == {np.dtype(np.float32)}


def test_sensor_noise_can_be_kept_to_some_keys_and_reaches_images(batch):
    noisy = begin(ObservationNoise(keys=("cube_pos", "head_rgb")), batch)
    clean = {**batch.observe(), "head_rgb": np.full((N, 6, 8, 3), 128, np.uint8)}
    seen = noisy.seen(clean)
    changed = {key for key in clean if not np.array_equal(seen[key], clean[key])}
    assert changed == {"cube_pos", "head_rgb"}
    assert seen["head_rgb"].dtype == np.uint8


def test_an_observation_without_a_magnitude_is_refused():
    with pytest.raises(VandError, match="no noise is defined for observation 'smell'"):
        ObservationNoise().deviation("smell", 3)


def test_slip_disturbs_the_hand_and_spares_gripper_and_standing_base(batch):
    slip = ActuationNoise()
    slipping = begin(slip, batch)
    actions = np.zeros((N, 10), np.float32)
    moved = np.stack([slipping.executed(actions) for _ in range(2000)])
    assert not moved[..., [0, 1, 2, 9]].any()
    assert moved[..., 3:9].std() == pytest.approx(slip.hand_std, rel=0.1)
    a, b = moved[:-5, ..., 3:9].ravel(), moved[5:, ..., 3:9].ravel()  # 0.5 s apart
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.exp(-1), abs=0.06)


def test_wheels_slip_in_proportion_to_their_speed(batch):
    slipping = begin(ActuationNoise(hand_std=0.0, base_slip=0.1), batch)
    actions = np.zeros((N, 10), np.float32)
    actions[:, 0] = 0.5
    moved = np.stack([slipping.executed(actions) for _ in range(2000)])
    assert moved[..., 0].std() == pytest.approx(0.05, rel=0.15)
    assert not moved[..., 1:].any()


def test_pushes_act_on_hand_or_base_and_end(batch):
    push = ExternalPush()
    pushing, sim = begin(push, batch), batch.simulation
    impulse = np.zeros_like(sim.wrench)
    for step in range(STEPS):
        pushing.push(step)
        impulse += np.abs(sim.wrench) * DT
    assert not sim.wrench.any() or pushing.pushes_s[0][-1] > (STEPS - 3) * DT
    for i, times in enumerate(pushing.pushes_s):
        assert push.first_s[0] - DT < times[0] < push.first_s[1] + DT
        pushed = np.flatnonzero(impulse[i].any(axis=1))
        assert set(pushed) <= {sim.ee_body, sim.body_id("robot/base")}
    sim.wrench[:] = 0.0


def test_a_push_moves_the_robot(batch):
    still = np.zeros((N, 10), np.float32)
    moved = {}
    for name in ("nominal", "push"):
        batch.reset(range(N))
        pushing = begin(PERTURBATIONS[name], batch)
        start = batch.simulation.qpos[:, batch.simulation.base_qpos].copy()
        away = np.zeros(N)
        for step in range(100):
            pushing.push(step)
            batch.step(still)
            path = batch.simulation.qpos[:, batch.simulation.base_qpos] - start
            away = np.maximum(away, np.linalg.norm(path[:, :2], axis=1))
        moved[name] = away
    batch.simulation.wrench[:] = 0.0
    assert moved["nominal"].max() < 0.005
    assert moved["push"].max() > 0.02


def test_streams_belong_to_one_episode_alone():
    first = streams("wipe", "push", [1, 2])
    again = streams("wipe", "push", [2])
    assert first[1].random() == again[0].random()
    others = [streams(*of)[0].random() for of in (("wipe", "slip", [2]), ("stir", "push", [2]))]
    assert len({again[0].random(), *others}) == 3


def test_every_task_is_switched_to_once():
    before = [task_before(task, task_ids()) for task in task_ids()]
    assert sorted(before) == sorted(task_ids())
    assert all(a != b for a, b in zip(before, task_ids(), strict=True))
    assert task_before("wipe", ["wipe"]) is None


def test_perturbations_say_what_they_do():
    assert NOMINAL.to_json() == {"about": NOMINAL.about}
    assert PERTURBATIONS["push"].to_json()["hand_impulse_ns"] == ExternalPush().hand_impulse_ns
    assert PERTURBATIONS["long"].applies(get_task("wipe"), ["wipe"])
    assert not PERTURBATIONS["long"].applies(get_task("stow-cube"), ["stow-cube"])


def test_every_perturbation_is_a_subclass_with_a_name_of_its_own():
    with pytest.raises(TypeError, match="abstract"):
        Perturbation()
    assert {type(p).__bases__ for p in PERTURBATIONS.values()} == {(Perturbation,)}
    assert list(PERTURBATIONS) == ["nominal", "sensor", "slip", "push", "long", "switch"]


def test_switching_needs_a_second_task():
    switch = PERTURBATIONS["switch"]
    assert switch.applies(get_task("wipe"), ["wipe", "stir"])
    assert not switch.applies(get_task("wipe"), ["wipe"])
