"""The control step in C against the one in torch, which is the reference."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from vand_envs.errors import VandError
from vand_robot import nn
from vand_robot.config import validation
from vand_robot.config.schema import PolicyConfig
from vand_robot.interface import PolicySpec
from vand_robot.policies.recurrent import RecurrentPolicy

pytestmark = pytest.mark.skipif(nn.backend() == "torch", reason="there is no scan in C")

SPEC = PolicySpec(
    robot="vander",
    action_mode="ee_twist",
    action_size=10,
    control_dt_s=0.1,
    instructions=("stow", "wipe"),
    observations={"ee_pos": 3, "cube_rel": 3, "bin_rel": 3, "board_rel": 3, "instruction": 2},
)
SCALE = torch.tensor([1.0, 2.0, 3.0, *[0.1] * 9, 0.5, 0.5])
STEPS = 12
LIKE_BARE = {
    "near_field_scales_m": [],
    "attention_heads": 0,
    "encoder": {"sizes": []},
}


def make_policy(spec=SPEC, **values):
    torch.manual_seed(0)
    policy = RecurrentPolicy(validation.build(PolicyConfig, values), spec)
    policy.fit_normalizer(torch.randn(50, spec.observation_size) * SCALE + 0.1)
    return policy.eval()


def observations(n, seed=0):
    """Key -> (STEPS, n, d)."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(STEPS, n, SPEC.observation_size, generator=generator) * SCALE).numpy()
    parts = np.split(x, np.cumsum(list(SPEC.observations.values()))[:-1], axis=-1)
    return dict(zip(SPEC.observations, parts, strict=True))


def rolled_out(policy, seen):
    """Actions (STEPS, n, A) and the last state."""
    state, actions = None, []
    for step in range(STEPS):
        action, state = policy.act({key: part[step] for key, part in seen.items()}, state)
        actions.append(action)
    return np.stack(actions), state.core.numpy()


def by_torch(policy, seen):
    """The same by the formula of torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "_native_step", lambda: None)
        return rolled_out(policy, seen)


def assert_close(policy, n=3, tolerance=1e-6):
    seen = observations(n)
    ours, expected = rolled_out(policy, seen), by_torch(policy, seen)
    assert policy._native_step() is not None
    for mine, its in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=tolerance)
    assert np.abs(expected[0]).max() > 0.05


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_cell_acts_as_in_torch(cell, layers):
    assert_close(make_policy(cell=cell, num_layers=layers))


@pytest.mark.parametrize(
    "values",
    [
        LIKE_BARE,
        {"hidden_size": 5, "encoder": {"sizes": [3]}},
        {"hidden_size": 17, "encoder": {"sizes": [33, 7], "activation": "silu"}},
        {"encoder": {"sizes": [20], "activation": "relu", "layer_norm": False}},
        {"attention_heads": 3, "near_field_scales_m": [0.05]},
        {"attention_heads": 0},
        {"objects": []},
        {"shared_std": False},
        {"head": "gmm"},
        {"head": "gmm", "mixture": {"modes": 3, "act": "sample"}},
        {"reset_every": 5},
        {"observation_clip": 1.0},
        {"regularizer": {"name": "vand"}},
        {"regularizer": {"name": "zoneout", "z": 0.3}},
        {"cell": "lstm", "regularizer": {"name": "zoneout", "z": 0.1, "z_cell": 0.5}},
        {"cell": "lstm", "regularizer": {"name": "zoneout", "on": "hidden"}},
    ],
    ids=str,
)
def test_every_option_acts_as_in_torch(values):
    assert_close(make_policy(**values))


def test_native_actions_come_in_their_own_units():
    bounds = {"action_low": (-3.0,) * 10, "action_high": (5.0,) * 10}
    assert_close(make_policy(PolicySpec(**{**vars(SPEC), "action_mode": "native", **bounds})))


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_an_episode_does_not_depend_on_those_beside_it(cell):
    policy = make_policy(cell=cell, head="gmm", mixture={"act": "sample"})
    seen = observations(71)
    together, _ = rolled_out(policy, seen)
    for first, stop in ((0, 1), (0, 2), (68, 71), (10, 35), (70, 71)):
        part = {key: value[:, first:stop] for key, value in seen.items()}
        assert np.array_equal(rolled_out(policy, part)[0], together[:, first:stop])
    alone = {key: value[:, 5] for key, value in seen.items()}  # as Gymnasium has it, (d,)
    assert np.array_equal(rolled_out(policy, alone)[0], together[:, 5])


def changed_in_place(policy):
    policy.core.weight_hh_l0.data.mul_(0.5)


def changed_in_numpy(policy):
    policy.encoder[0].weight.detach().numpy()[:] *= 0.5


def replaced(policy):
    policy.head.linear.weight = torch.nn.Parameter(policy.head.linear.weight.detach() * 0.5)


def given_other_data(policy):
    policy.core.bias_ih_l0.data = policy.core.bias_ih_l0.detach() + 1


def with_another_module(policy):
    policy.encoder[2] = torch.nn.ReLU()


def with_another_head(policy):
    policy.head = copy.deepcopy(policy.head)
    policy.head.linear.bias.data.add_(0.5)


def trained(policy):
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    policy.encoder(torch.ones(1, policy.normalizer.width)).sum().backward()
    optimizer.step()


def loaded(policy):
    policy.load_state_dict({key: value * 0.9 for key, value in policy.state_dict().items()})


def fitted_anew(policy):
    policy.fit_normalizer(torch.randn(50, SPEC.observation_size))


def scheduled(policy):
    assert policy.core.regularizer.set_option("z", 0.6)


CHANGES = [
    *(changed_in_place, changed_in_numpy, replaced, given_other_data, with_another_module),
    *(with_another_head, trained, loaded, fitted_anew, scheduled),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_the_policy_changes_the_next_action(change):
    policy = make_policy(regularizer={"name": "zoneout"})
    seen = observations(2)
    before, _ = rolled_out(policy, seen)
    change(policy)
    after, _ = rolled_out(policy, seen)
    assert np.abs(after - before).max() > 1e-4
    assert_close(policy)


def parametrized(policy):
    torch.nn.utils.parametrizations.spectral_norm(policy.core, "weight_hh_l0")


def pruned(policy):
    prune.l1_unstructured(policy.encoder[0], "weight", 0.5)


@pytest.mark.parametrize("change", [parametrized, pruned], ids=lambda change: change.__name__)
def test_what_c_cannot_read_acts_by_torch(change):
    policy = make_policy()
    rolled_out(policy, observations(1))
    change(policy)
    policy.eval()
    seen = observations(2)
    assert np.array_equal(rolled_out(policy, seen)[0], by_torch(policy, seen)[0])
    assert policy._native_step() is None


@pytest.mark.parametrize("cell", ["layernorm_gru", "mingru", "lru"])
def test_cells_that_c_does_not_know_act_by_torch(cell):
    policy = make_policy(cell=cell)
    rolled_out(policy, observations(2))
    assert policy._native_step() is None


def test_copies_act_with_weights_of_their_own():
    policy = make_policy()
    seen = observations(1)
    before, _ = rolled_out(policy, seen)
    other = copy.deepcopy(policy)
    other.head.linear.bias.data.add_(0.3)
    assert np.array_equal(rolled_out(policy, seen)[0], before)
    assert np.abs(rolled_out(other, seen)[0] - before).max() > 0.1
    again = pickle.loads(pickle.dumps(policy))
    assert np.array_equal(rolled_out(again, seen)[0], before)


def test_moved_there_and_back_it_acts_the_same():
    policy = make_policy()
    seen = observations(1)
    before, _ = rolled_out(policy, seen)
    policy.double().float()
    assert np.array_equal(rolled_out(policy, seen)[0], before)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("single", [True, False])
def test_what_is_not_finite_is_named(single):
    policy = make_policy()
    seen = {key: part[0, 0] if single else part[0] for key, part in observations(3).items()}
    for bad in (np.nan, np.inf, 1e300):
        cube = seen["cube_rel"].astype(np.float64)
        cube.flat[1] = bad
        with pytest.raises(VandError, match="observation 'cube_rel' is not finite"):
            policy.act({**seen, "cube_rel": cube})
    policy.head.linear.bias.data[3] = np.nan
    with pytest.raises(VandError, match="the policy's action is not finite, its observation is"):
        policy.act(seen)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cube_rel": None}, "observation 'cube_rel' is missing"),
        ({"cube_rel": (4,)}, r"observation 'cube_rel': the policy expects shape \(., 3\), got"),
        ({"cube_rel": (4,), "bin_rel": (2,)}, r"observation 'cube_rel': the policy expects shape"),
        ({"cube_rel": ()}, r"observation 'cube_rel': the policy expects shape \(., 3\), got"),
        ({"cube_rel": (1, 1, 3)}, r"observation 'cube_rel': the policy expects shape"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(change, message, single):
    policy = make_policy()
    seen = {key: part[0, 0] if single else part[0] for key, part in observations(3).items()}
    for key, shape in change.items():
        if shape is None:
            del seen[key]
        else:
            seen[key] = np.zeros(shape if single or not shape else (3, *shape), np.float32)
    with pytest.raises(VandError, match=message):
        policy.act(seen)


def test_states_that_do_not_fit_are_refused():
    policy = make_policy()
    seen = {key: part[0] for key, part in observations(3).items()}
    _, state = policy.act(seen)
    two = {key: part[:2] for key, part in seen.items()}
    with pytest.raises((RuntimeError, ValueError)):
        policy.act(two, state)


def test_no_episodes_have_no_actions():
    policy = make_policy()
    seen = {key: part[0][:0] for key, part in observations(3).items()}
    actions, state = policy.act(seen)
    assert actions.shape == (0, 10)
    assert state.core.shape == (1, 0, 128)


def test_in_training_mode_too_it_is_the_deterministic_policy_that_acts():
    policy = make_policy(regularizer={"name": "gaussian_noise"})
    seen = observations(2)
    before, _ = rolled_out(policy, seen)
    policy.train()
    assert np.array_equal(rolled_out(policy, seen)[0], before)


@pytest.mark.parametrize("regularizer", ["none", "zoneout"])
def test_torchs_default_type_and_device_change_nothing(regularizer):
    policy, seen = make_policy(regularizer={"name": regularizer}), observations(2)
    expected, _ = rolled_out(copy.deepcopy(policy), seen)
    state = policy.initial_state(2)
    with torch.device("meta"):
        action, state = policy.act({key: part[0] for key, part in seen.items()}, state)
    assert np.array_equal(action, expected[0])
    torch.set_default_dtype(torch.float64)
    try:
        action, _ = policy.act({key: part[1] for key, part in seen.items()}, state)
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(action, expected[1])
