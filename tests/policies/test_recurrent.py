import dataclasses
import typing

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.runs import TASKS, env_args
from vand_envs.errors import UsageError, VandError
from vand_robot import nn
from vand_robot.config import validation
from vand_robot.config.schema import Cell, PolicyConfig
from vand_robot.data.batches import Batch
from vand_robot.interface import PolicySpec
from vand_robot.nn.heads import gaussian_nll
from vand_robot.policies import size
from vand_robot.policies.normalizer import Normalizer
from vand_robot.policies.recurrent import RecurrentPolicy

SPEC = PolicySpec(
    robot="vander",
    action_mode="ee_twist",
    action_size=10,
    control_dt_s=0.1,
    instructions=TASKS,
    observations={"ee_pos": 3, "gripper": 2, "instruction": 2},
)
CELLS = tuple(nn.CELLS)


def make_policy(seed: int = 0, **values: object) -> RecurrentPolicy:
    torch.manual_seed(seed)
    config = validation.build(PolicyConfig, {"hidden_size": 7, "encoder": {"sizes": [5]}, **values})
    policy = RecurrentPolicy(config, SPEC)
    policy.fit_normalizer(torch.randn(50, 7) * torch.tensor([1, 2, 3, 0.001, 5, 1, 1]) + 1)
    return policy.eval()


def make_batch(lengths: list[int], seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    size = (max(lengths), len(lengths))
    return Batch(
        torch.randn(*size, 7, generator=g),
        torch.rand(*size, 10, generator=g) * 2 - 1,
        torch.tensor(lengths),
    )


def as_observation(x: Tensor) -> dict[str, np.ndarray]:
    parts = x.numpy().astype(np.float32)
    return {"instruction": parts[:, 5:], "gripper": parts[:, 3:5], "ee_pos": parts[:, :3]}


def rolled_out(policy: RecurrentPolicy, observations: Tensor) -> np.ndarray:
    """(T, n, A) actions over observations (T, n, D)."""
    actions, state = [], None
    for x in observations:
        action, state = policy.act(as_observation(x), state)
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n", [1, 32])
def test_acting_step_by_step_equals_the_forward_pass_of_training(cell: str, n: int):
    policy = make_policy(cell=cell, num_layers=2, regularizer={"name": "vand"})
    x = make_batch([9] * n).observations
    result = policy.core.run(policy.encoder(policy.normalizer(x)))
    mean, _ = policy.head(result.output)
    expected = mean.clamp(-1, 1).detach().numpy()
    np.testing.assert_allclose(rolled_out(policy, x), expected, atol=2e-6)


def test_actions_are_float32_and_within_bounds():
    policy = make_policy()
    with torch.no_grad():
        policy.head.linear.weight.mul_(100)
    actions = rolled_out(policy, make_batch([5, 5]).observations)
    assert actions.dtype == np.float32
    assert actions.min() == -1
    assert actions.max() == 1


def test_one_observation_without_a_batch_gives_one_action():
    policy = make_policy()
    observations = torch.randn(3, 1, 7)
    expected, state = rolled_out(policy, observations), None
    for x, actions in zip(observations, expected, strict=True):
        one = {key: value[0] for key, value in as_observation(x).items()}
        action, state = policy.act(one, state)
        assert action.shape == (10,)
        np.testing.assert_array_equal(action, actions[0])
    with pytest.raises(VandError, match=r"'gripper': the policy expects shape \(1, 2\), got"):
        policy.act({**one, "gripper": np.zeros(3, np.float32)})
    with pytest.raises(VandError, match="'ee_pos' is missing"):
        policy.act({"gripper": np.zeros(2, np.float32)})


def test_the_state_is_carried_through_the_episode_and_the_callers_is_left_alone():
    policy = make_policy()
    x = make_batch([3]).observations
    first, state = policy.act(as_observation(x[0]))
    before = state.core.clone()
    again, _ = policy.act(as_observation(x[0]), state)
    assert not np.array_equal(first, again)
    assert torch.equal(state.core, before)


@pytest.mark.parametrize("reset_every", [1, 4])
def test_reset_every_forgets_in_control_and_in_training_alike(reset_every: int):
    policy = make_policy(reset_every=reset_every)
    batch = make_batch([10, 7])
    plain = make_policy()
    pieces = [
        rolled_out(plain, batch.observations[t : t + reset_every])
        for t in range(0, 10, reset_every)
    ]
    actions = rolled_out(policy, batch.observations)
    np.testing.assert_allclose(actions, np.concatenate(pieces), atol=1e-6)

    losses = []  # each window by itself, from a state of zero
    for t in range(0, 10, reset_every):
        for b, length in enumerate(batch.lengths.tolist()):
            valid = slice(t, min(t + reset_every, length))
            if valid.stop > t:
                one = Batch(
                    batch.observations[valid, b : b + 1],
                    batch.actions[valid, b : b + 1],
                    torch.tensor([valid.stop - t]),
                )
                losses.append((one.steps, plain.loss(one).nll.item()))
    expected = sum(n * nll for n, nll in losses) / sum(n for n, _ in losses)
    assert policy.loss(batch).nll.item() == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(plain.loss(batch).nll.item(), rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_has_no_part_in_loss_or_gradients(cell: str):
    policy = make_policy(cell=cell)
    batch = make_batch([8, 5, 2])
    dirty = Batch(batch.observations.clone(), batch.actions.clone(), batch.lengths)
    dirty.observations[~batch.mask] = 1e6
    dirty.actions[~batch.mask] = torch.nan
    gradients = []
    for one in (batch, dirty):
        policy.zero_grad()
        loss = policy.loss(one)
        loss.total.backward()
        gradients.append((loss.total.detach(), [p.grad.clone() for p in policy.parameters()]))
    (loss_a, grad_a), (loss_b, grad_b) = gradients
    assert torch.equal(loss_a, loss_b)
    assert all(torch.equal(a, b) for a, b in zip(grad_a, grad_b, strict=True))


SEEN = {"ee_pos": 3, "cube_rel": 3, "bin_rel": 3, "instruction": 2}


def make_attending_policy(**values: object) -> RecurrentPolicy:
    torch.manual_seed(3)
    config = validation.build(PolicyConfig, {"hidden_size": 7, "encoder": {"sizes": [5]}, **values})
    policy = RecurrentPolicy(config, dataclasses.replace(SPEC, observations=SEEN))
    policy.fit_normalizer(torch.randn(50, 11))
    return policy.eval()


def split_observation(x: Tensor) -> dict[str, np.ndarray]:
    parts = torch.split(x, list(SEEN.values()), -1)
    return {key: part.numpy() for key, part in zip(SEEN, parts, strict=True)}


@pytest.mark.parametrize("heads", [0, 1, 3])
def test_acting_with_object_attention_equals_the_forward_pass_of_training(heads: int):
    policy = make_attending_policy(attention_heads=heads)
    x = torch.randn(6, 4, 11) * 0.3
    actions, state = [], None
    for now in x:
        action, state = policy.act(split_observation(now), state)
        actions.append(torch.from_numpy(action))
    mean = torch.stack(actions)
    assert mean.abs().max() < 1  # nothing is clipped
    batch = Batch(x, torch.zeros(6, 4, 10), torch.tensor([6] * 4))
    _, log_std = policy.head(torch.zeros(7))
    expected = gaussian_nll(mean, log_std, batch.actions)
    assert policy.loss(batch).nll.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_action_follows_the_attended_object_alone():
    policy = make_attending_policy(attention_heads=1)
    with torch.no_grad():
        policy.object_attention.choice.weight.zero_()
        policy.object_attention.choice.bias.copy_(torch.tensor([-50.0, 50.0]))  # the bin, always
        policy.encoder[0].weight.zero_()  # nothing reaches the action by way of the memory
    x = torch.zeros(3, 11)
    x[1, 3:6] = 0.05  # the cube is elsewhere
    x[2, 6:9] = 0.05  # the bin is
    still, cube, bin_ = policy.act(split_observation(x))[0]
    np.testing.assert_allclose(still, cube, atol=1e-6)
    assert np.abs(still - bin_).max() > 1e-3


def test_attention_weights_sum_to_one_and_there_is_none_without_objects():
    attention = make_attending_policy(attention_heads=3).object_attention
    weights = attention.weights(torch.randn(5, 7))
    assert weights.shape == (5, 3, 2)
    torch.testing.assert_close(weights.sum(-1), torch.ones(5, 3))
    assert make_policy().object_attention is None
    assert make_attending_policy(attention_heads=0).object_attention is None
    assert make_attending_policy(near_field_scales_m=[], attention_heads=0).object_attention is None


def test_future_actions_predicts_the_actions_of_later_steps_and_then_the_last():
    batch = make_batch([6, 3])
    later = batch.with_future_actions([1, 4]).actions
    now, next_one, fourth = later.split(10, -1)
    assert torch.equal(now, batch.actions)
    assert torch.equal(next_one[:5, 0], batch.actions[1:, 0])
    assert torch.equal(fourth[1, 0], batch.actions[5, 0])
    assert torch.equal(fourth[:3, 1], batch.actions[2, 1].expand(3, 10))


def test_future_actions_does_not_look_beyond_a_change_of_the_instruction():
    batch = make_batch([6, 3])
    batch.observations[..., 5:] = torch.tensor([1.0, 0.0])
    batch.observations[3:, 0, 5:] = torch.tensor([0.0, 1.0])  # told something else from step 3 on
    _, later = batch.with_future_actions([2], slice(5, 7)).actions.split(10, -1)
    places = [2, 2, 2, 5, 5, 5]
    assert torch.equal(later[:, 0], batch.actions[places, 0])
    assert torch.equal(later[:3, 1], batch.actions[2, 1].expand(3, 10))


@pytest.mark.parametrize("values", [{}, {"reset_every": 4}])
@pytest.mark.parametrize("truncate", [None, 3])
def test_future_actions_looks_beyond_cuts_of_the_sequence(
    values: dict[str, int], truncate: int | None
):
    policy = make_policy(future_actions={"horizons_s": [0.2], "weight": 0.5}, **values)
    batch = make_batch([10, 7])
    batch.observations[..., 5:] = torch.tensor([0.0, 1.0])  # what is told, all the time
    loss = policy.loss(batch, truncate_steps=truncate)
    known = batch.observations  # the policy's answers, from what it has seen by then
    state, expected, steps = None, 0.0, 0
    for t in range(10):
        if values and t % 4 == 0:
            state = None
        running = batch.lengths > t
        x = policy.encoder(policy.normalizer(known[t]))
        output, state = policy.core.step(
            x, policy.core.initial_state(2) if state is None else state
        )
        later = (batch.lengths - 1).clamp(max=t + 2)
        target = batch.actions[later, torch.arange(2)]
        count = int(running.sum())
        expected += count * policy.future_actions.nll(output[running], target[running]).item()
        steps += count
    assert loss.future_actions.item() == pytest.approx(expected / steps, rel=1e-5)
    assert loss.total.item() == pytest.approx(
        (loss.nll + 0.5 * loss.future_actions).item(), rel=1e-6
    )


def test_future_actions_can_be_left_out():
    policy = make_policy(future_actions={"horizons_s": []})
    loss = policy.loss(make_batch([5, 3]))
    assert policy.future_actions is None
    assert loss.future_actions == 0
    assert torch.equal(loss.total, loss.nll + loss.penalty)


@pytest.mark.parametrize("truncate", [1, 3, 8, 50])
def test_truncation_cuts_gradients_but_not_the_state(truncate: int):
    policy = make_policy(cell="lstm")
    batch = make_batch([8, 5, 2])
    whole, cut = policy.loss(batch), policy.loss(batch, truncate_steps=truncate)
    assert cut.nll.item() == pytest.approx(whole.nll.item(), rel=1e-5)
    torch.testing.assert_close(cut.output, whole.output)
    gradients = [
        torch.autograd.grad(loss.total, policy.core.weight_hh_l0)[0] for loss in (whole, cut)
    ]
    assert torch.allclose(*gradients, atol=1e-6) == (truncate >= 8)


def test_noise_acts_in_training_only_and_never_on_the_instruction():
    policy = make_policy()
    batch = make_batch([6, 6])
    clean = policy.loss(batch).nll
    assert torch.equal(policy.loss(batch, input_noise_std=1.0).nll, clean)
    policy.train()
    assert not torch.equal(policy.loss(batch, input_noise_std=1.0).nll, clean)
    only_instruction = make_policy().train()
    with torch.no_grad():
        only_instruction.encoder[0].weight[:, :5] = 0
    clean = only_instruction.loss(batch).nll
    assert torch.equal(only_instruction.loss(batch, input_noise_std=1.0).nll, clean)


def test_near_field_scales_resolve_millimeters_nearby_and_saturate_far_away():
    normalizer = Normalizer(2, clip=5.0, close=[1], ranges=[0.03, 0.5])
    normalizer.fit(torch.zeros(2), torch.ones(2), torch.tensor([False, False]), 0.02)
    here, beside, far, further = normalizer(
        torch.tensor([[0, 0.0], [0, 0.005], [0, 2.0], [0, 3.0]])
    )
    assert here.shape == (4,)
    assert (beside - here)[1] < 0.01  # as it is: half a centimeter is nothing
    assert (beside - here)[2] > 0.1
    assert (further - far)[1] > 0.5  # as it is, which still tells meters
    assert (further - far)[2:].abs().max() < 1e-3


def test_the_normalizer_scales_floors_and_clips():
    policy = make_policy()
    x = torch.randn(400, 7) * torch.tensor([1, 20, 3, 1e-4, 5, 1, 1]) + 10
    policy.fit_normalizer(x)
    y = policy.normalizer(x)
    np.testing.assert_allclose(y[:, :3].mean(0), 0, atol=0.02)
    np.testing.assert_allclose(y[:, :3].std(0), 1, atol=0.05)
    assert y[:, 3].std() < 0.01  # 1e-4 of its own unit stays small, whatever its spread
    assert policy.normalizer(torch.full((1, 7), 1e9)).abs().max() == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gripper": None}, "'gripper' is missing"),
        ({"gripper": np.zeros((1, 3), np.float32)}, r"'gripper'.*\(1, 2\), got \(1, 3\)"),
        ({"gripper": np.zeros(2, np.float32)}, r"'gripper'.*\(1, 2\), got \(2,\)"),
        ({"gripper": np.full((1, 2), np.nan, np.float32)}, "'gripper' is not finite"),
        ({"gripper": np.full((1, 2), np.inf, np.float32)}, "'gripper' is not finite"),
    ],
)
def test_observations_that_do_not_fit_are_named(change: dict[str, object], expected: str):
    policy = make_policy()
    observation = {**as_observation(torch.zeros(1, 7)), **change}
    observation = {k: v for k, v in observation.items() if v is not None}
    with pytest.raises(VandError, match=expected):
        policy.act(observation)


def test_huge_observations_are_finite_though_their_squares_are_not():
    policy = make_policy()
    observation = {**as_observation(torch.zeros(1, 7)), "gripper": np.full((1, 2), 3e38, "f4")}
    assert np.isfinite(policy.act(observation)[0]).all()


def test_observations_with_different_batch_sizes_are_refused():
    policy = make_policy()
    observation = {**as_observation(torch.zeros(2, 7)), "gripper": np.zeros((3, 2), np.float32)}
    with pytest.raises(VandError, match=r"'gripper'.*\(2, 2\), got \(3, 2\)"):
        policy.act(observation)


@pytest.mark.parametrize(
    "change",
    [
        {"robot": "tiago"},
        {"action_mode": "joint"},
        {"control_dt_s": 0.05},
        {"instructions": ["wipe", "stow-cube"]},
    ],
)
def test_a_different_environment_is_refused_by_field(change: dict[str, object]):
    policy = make_policy()
    policy.spec.require_compatible(env_args())
    policy.spec.require_compatible(SPEC)
    with pytest.raises(VandError, match=next(iter(change))):
        policy.spec.require_compatible(env_args(**change))


def test_a_spec_with_different_observations_is_refused():
    other = PolicySpec("vander", "ee_twist", 10, 0.1, TASKS, {"ee_pos": 3})
    with pytest.raises(VandError, match="observations"):
        SPEC.require_compatible(other)


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        ({"name": "vant"}, "did you mean 'vand'?"),
        ({"name": "vand", "bet": 1}, "did you mean 'regularizer.beta'?"),
        ({"name": "vand", "sigma": -1}, "sigma"),
        ({"name": "vand", "sigma": "big"}, "regularizer.sigma"),
    ],
)
def test_a_bad_regularizer_is_one_line(regularizer: dict[str, object], expected: str):
    with pytest.raises(UsageError) as caught:
        make_policy(regularizer=regularizer)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_cell_of_the_library_is_one_of_a_policy_whose_size_is_counted():
    assert typing.get_args(Cell) == CELLS
    for cell in CELLS:
        policy = make_policy(cell=cell, num_layers=2, attention_heads=0, hidden_size=64)
        counted = size._weights(policy.config, SPEC)
        weights = sum(p.numel() for p in policy.parameters() if p.ndim > 1)
        assert counted == pytest.approx(weights, rel=0.02)
