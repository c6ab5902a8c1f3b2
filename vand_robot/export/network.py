"""A policy as a plain function of tensors, as an export holds it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vand_robot.interface import PolicySpec
from vand_robot.policies.checkpoint import Checkpoint, software_versions
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.runtime.interface import Interface

STATES = ("h", "c")
"""Names of the parts of a state: the hidden state, and the cell of an LSTM."""


class ExportedNetwork(nn.Module):
    """Observations, camera images and a state in; actions and the next state out.

    Normalization, close-range view, encoders, recurrent core, object attention, head and clipping
    are inside. It computes what `RecurrentPolicy.act` does, by the same code.

    Args:
        policy: The policy, in evaluation mode.
    """

    def __init__(self, policy: RecurrentPolicy) -> None:
        super().__init__()
        self.policy = policy
        low, high = (torch.tensor(bound) for bound in action_bounds(policy.spec))
        self.unit = bool((low == -1).all() and (high == 1).all())
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("half_range", (high - low) / 2, persistent=False)

    low: Tensor
    """(A,) lower bounds of the actions."""
    half_range: Tensor
    """(A,) half of what lies between the bounds."""

    def forward(self, obs: Tensor, *images_and_state: Tensor) -> tuple[Tensor, ...]:
        """Advance n episodes by one step.

        Args:
            obs: (n, D) observations side by side.
            *images_and_state: (n, H, W, 3) uint8 of each camera, then the parts of the state,
                (num_layers, n, H) each.

        Returns:
            (n, A) actions, and the parts of the next state.
        """
        keys = tuple(self.policy.spec.images)
        images = dict(zip(keys, images_and_state, strict=False))
        parts = images_and_state[len(keys) :]
        core = parts[0] if len(parts) == 1 else torch.cat(parts, -1)  # as a layer merges them
        actions, after = self.policy.advance(obs, images, core)
        if not self.unit:  # native bounds
            actions = self.low + (actions + 1) * self.half_range
        return actions, *_parts(self.policy, after)

    def initial(self, n: int) -> tuple[Tensor, ...]:
        """The parts of the state at the beginning of n episodes."""
        return _parts(self.policy, self.policy.initial_state(n).core)

    def example(self, n: int) -> tuple[Tensor, ...]:
        """Arguments of `forward` for n episodes, by which it is traced."""
        spec = self.policy.spec
        images = [torch.zeros(n, *size, 3, dtype=torch.uint8) for size in spec.images.values()]
        return torch.zeros(n, spec.observation_size), *images, *self.initial(n)

    def names(self) -> tuple[list[str], list[str]]:
        """Names of the inputs and of the outputs."""
        states = STATES[: len(self.initial(1))]
        images = self.policy.spec.images
        inputs = ["obs", *images, *(f"{name}_in" for name in states)]
        return inputs, ["actions", *(f"{name}_out" for name in states)]


def _parts(policy: RecurrentPolicy, core: Tensor) -> tuple[Tensor, ...]:
    """A state of the core as `torch.nn` has it, in parts."""
    state: Any = policy.core.split_state(core)
    return tuple(part.contiguous() for part in state) if isinstance(state, tuple) else (state,)


def interface_of(network: ExportedNetwork, name: str = "") -> Interface:
    """The interface of a policy, for the metadata; the latencies are not in it yet.

    Args:
        network: The policy.
        name: Name of its run.
    """
    policy = network.policy
    spec = policy.spec
    shapes = [tuple(part.shape) for part in network.initial(1)]
    low, high = action_bounds(spec)
    return Interface(
        observations=dict(spec.observations),
        images={key: (size[0], size[1]) for key, size in spec.images.items()},
        instructions=spec.instructions,
        control_dt_s=spec.control_dt_s,
        robot=spec.robot,
        action_mode=spec.action_mode,
        action_size=spec.action_size,
        action_low=tuple(low),
        action_high=tuple(high),
        state={state: (shape[0], shape[2]) for state, shape in zip(STATES, shapes, strict=False)},
        reset_every=policy.config.reset_every,
        name=name,
        versions=software_versions(),
    )


def action_bounds(spec: PolicySpec) -> tuple[Sequence[float], Sequence[float]]:
    """The bounds of a policy's actions: its native ones where it has any, else -1 and 1."""
    unit = [1.0] * spec.action_size
    low: Sequence[float] = getattr(spec, "action_low", ()) or [-1.0] * spec.action_size
    high: Sequence[float] = getattr(spec, "action_high", ()) or unit
    return [float(value) for value in low], [float(value) for value in high]


def example_observations(
    checkpoint: Checkpoint, steps: int, seed: int = 0
) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Observations (steps, D) like those of the training data, and images, for trials.

    They are drawn around the mean of the training data with its standard deviation, twice as wide,
    so that clipping and saturation take part.
    """
    policy = checkpoint.policy
    rng = np.random.default_rng(seed)
    scale = policy.normalizer.scale.cpu().numpy()
    mean = -policy.normalizer.offset.cpu().numpy() / scale
    x = mean + 2 * rng.normal(size=(steps, policy.spec.observation_size)) / scale
    images = [
        {
            key: rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)
            for key, size in policy.spec.images.items()
        }
        for _ in range(steps)
    ]
    return x.astype(np.float32), images
