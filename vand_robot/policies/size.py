"""How large a policy is, counted before any of it is made."""

from itertools import pairwise

from vand_demos.system.limits import require_room
from vand_robot.config.schema import PolicyConfig
from vand_robot.interface import PolicySpec

_NUMBER_BYTES = 4
_GATES = {"elman": (1, 1), "gru": (3, 3), "lstm": (4, 4), "mingru": (2, 0), "lru": (3, 2)}
"""Cell -> numbers per unit that the input, and the state, is projected to."""
_KERNEL_CELLS = 25
"""Of the largest convolution, five by five."""


def require_policy_fits(config: PolicyConfig, spec: PolicySpec) -> None:
    """Checks that a policy's weights are not above the limit of memory.

    Training takes about five times as much: gradients, two moments, and the average.

    Raises:
        VandError: They are.
    """
    require_room("the policy's weights", _NUMBER_BYTES * _weights(config, spec))


def _weights(config: PolicyConfig, spec: PolicySpec) -> int:
    """Numbers in the policy's matrices; vectors, which are small beside them, are left out."""
    of_input, of_state = _GATES[config.cell.removeprefix("layernorm_")]
    scales, hidden = len(config.near_field_scales_m), config.hidden_size
    channels = (3, *config.images.channels)
    seen = spec.observation_size * (1 + scales) + len(spec.images) * 2 * channels[-1]
    sizes = (seen, *config.encoder.sizes)
    ahead = len(config.future_actions.horizons_s)
    modes = 2 * config.mixture.modes if config.head == "gmm" else 0
    numbers = modes or (1 if config.shared_std else 2)  # that the head predicts of each action
    return (
        sum(low * high for low, high in pairwise(sizes))
        + hidden * (of_input * sizes[-1] + of_state * hidden)
        + hidden * (of_input + of_state) * hidden * (config.num_layers - 1)
        + hidden * spec.action_size * (ahead + numbers)
        + len(spec.images) * _KERNEL_CELLS * sum(low * high for low, high in pairwise(channels))
        + seen
    )
