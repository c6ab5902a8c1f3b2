"""An exported policy, `policy.onnx`, behind the interface of a policy that is rolled out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_envs.errors import UsageError, VandError
from vand_envs.typing import Float32Array
from vand_robot.interface import PolicySpec
from vand_robot.runtime.errors import PolicyError, PolicyUsageError
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.network import Network, State


@dataclass(frozen=True)
class ExportedState:
    """The memory of n episodes that advance together."""

    parts: State
    """`h`, and for an LSTM `c`, (layers, n, size) each."""
    steps: int = 0
    """Actions taken since the episodes began."""


class ExportedPolicy:
    """The policy of a file that `vand-robot export` wrote.

    Args:
        path: The file.

    Raises:
        UsageError: There is no such file.
        VandError: It is damaged or foreign.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.network = Network.load(path)
        except PolicyUsageError as error:
            raise UsageError(str(error)) from None
        except PolicyError as error:
            raise VandError(str(error)) from None
        self.spec = spec_of(self.network.interface)
        """Its observations and actions."""

    def act(
        self, observation: Mapping[str, NDArray[Any]], state: ExportedState | None = None
    ) -> tuple[Float32Array, ExportedState]:
        """Choose actions for n episodes; see `vand_robot.interface.Policy.act`.

        Raises:
            VandError: An observation is missing or of another size, or an action is not finite.
        """
        interface = self.network.interface
        sizes = interface.observations
        missing = [key for key in (*sizes, *interface.images) if key not in observation]
        if missing:
            there = ", ".join(observation)
            raise VandError(f"observation {missing[0]!r} is missing; there are: {there}")
        for key, size in sizes.items():
            if observation[key].shape[1:] != (size,):
                shapes = f"expects shape (n, {size}), got {observation[key].shape}"
                raise VandError(f"observation {key!r}: the policy {shapes}")
        obs = np.concatenate([observation[key] for key in sizes], 1, dtype=np.float32)
        images = {key: observation[key] for key in interface.images}
        every = interface.reset_every
        if state is None or (every is not None and state.steps % every == 0):
            steps = 0 if state is None else state.steps
            state = ExportedState(self.network.initial_state(len(obs)), steps)
        try:
            actions, parts = self.network.step(obs, images, state.parts)
        except PolicyError as error:
            raise VandError(str(error)) from None
        return actions, ExportedState(parts, state.steps + 1)


def spec_of(interface: Interface) -> PolicySpec:
    """The interface of a policy that is rolled out, of that of an exported or served one."""
    native = interface.action_mode == "native"
    bounds: dict[str, Any] = {}
    if native:
        bounds = {"action_low": interface.action_low, "action_high": interface.action_high}
    values: dict[str, Any] = {
        "robot": interface.robot,
        "action_mode": interface.action_mode,
        "action_size": interface.action_size,
        "control_dt_s": interface.control_dt_s,
        "instructions": interface.instructions,
        "observations": dict(interface.observations),
        "images": dict(interface.images),
        **bounds,
    }
    return PolicySpec(**values)
