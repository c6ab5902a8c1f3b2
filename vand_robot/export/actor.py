"""A policy that acts in one episode at a time, from a run's folder or from an exported file."""

from collections.abc import Callable
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
from vand_robot.runtime.policy import Instructable, Observation, Policy

EXPORTED = ".onnx"
"""Ends the names of exported policies."""


def load_actor(source: Path) -> Instructable:
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


def actor_maker(source: Path) -> Callable[[], Instructable]:
    """A function that makes policies of one source, each with a memory of its own.

    The weights are loaded once. Errors as in `load_actor`.
    """
    first = load_actor(source)
    if isinstance(first, Policy):
        network = first.network
        return lambda: Policy(network)
    policy = load_checkpoint(source).policy
    return lambda: RunPolicy(policy, first.interface.name)


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
            self.instruct(told)
        self._state = None

    def instruct(self, instruction: str) -> None:
        """Give another instruction; the memory goes on."""
        code = self.interface.code(instruction)
        self._code = np.zeros(len(self.interface.instructions), np.float32)
        self._code[code] = 1

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Choose the next action (A,); see `vand_robot.runtime.Policy.act`."""
        seen: dict[str, Any] = dict(observation)
        if self._code is not None and self.interface.instructed:
            seen[INSTRUCTION] = self._code
        for key, size in self.interface.observations.items():
            if key not in seen:
                continue  # the policy says so
            try:
                seen[key] = np.asarray(seen[key], np.float32)
            except (ValueError, TypeError):
                raise PolicyError(f"observation {key!r}: expected {size} numbers") from None
            if seen[key].shape != (size,):
                shapes = f"expected shape ({size},), got {seen[key].shape}"
                raise PolicyError(f"observation {key!r}: {shapes}")
        try:
            action, self._state = self.policy.act(seen, self._state)
        except VandError as error:
            raise PolicyError(str(error)) from None
        return action
