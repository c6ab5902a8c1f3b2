"""A policy that acts in one episode at a time, from a run's folder or from an exported file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_envs.errors import VandError
from vand_robot.export.network import ExportedNetwork, interface_of
from vand_robot.layout import named, run_folder
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.policies.recurrent import PolicyState, RecurrentPolicy
from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import INSTRUCTION
from vand_robot.runtime.policy import Actor, Observation, Policy

EXPORTED = ".onnx"
"""Ends the names of exported policies."""


def load_actor(source: Path) -> Actor:
    """Load a policy that acts in one episode at a time.

    Args:
        source: Folder of a run or of a checkpoint, or an exported policy, `policy.onnx`.

    Raises:
        UsageError: There is no such run.
        VandError: The checkpoint is damaged.
        PolicyError: The exported policy is damaged, foreign, or not there.
    """
    if source.suffix == EXPORTED:
        return Policy.load(source)
    return RunPolicy(load_checkpoint(source).policy, run_folder(named(source)).name)


class RunPolicy:
    """A run's policy with the calls of `vand_robot.runtime.Policy`.

    Args:
        policy: The policy.
        name: Name of its run.
    """

    def __init__(self, policy: RecurrentPolicy, name: str = "") -> None:
        self.policy = policy
        self.interface = interface_of(ExportedNetwork(policy), name)
        """Its observations, actions, rate and instructions."""
        self._state: PolicyState | None = None
        self._code: NDArray[np.float32] | None = None

    def reset(self, instruction: str | None = None) -> None:
        """Begin an episode; see `vand_robot.runtime.Policy.reset`."""
        known = self.interface.instructions
        told = known[0] if instruction is None and len(known) == 1 else instruction
        self._code = None
        if told is not None:
            self._code = np.zeros(len(known), np.float32)
            self._code[self.interface.code(told)] = 1
        self._state = None

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Choose the next action (A,); see `vand_robot.runtime.Policy.act`."""
        seen: dict[str, Any] = dict(observation)
        if self._code is not None and self.interface.instructed:
            seen[INSTRUCTION] = self._code
        for key in self.interface.observations:
            if key in seen and np.ndim(seen[key]) != 1:
                shapes = f"expected shape ({self.interface.observations[key]},)"
                raise PolicyError(f"observation {key!r}: {shapes}, got {np.shape(seen[key])}")
        try:
            action, self._state = self.policy.act(seen, self._state)
        except VandError as error:
            raise PolicyError(str(error)) from None
        return action
