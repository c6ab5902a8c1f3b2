"""A policy on a robot: an observation in, an action out, the memory inside."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import INSTRUCTION, Interface
from vand_robot.runtime.network import Network

Observation = Mapping[str, Any]
"""Key -> array; images (H, W, 3) uint8, the rest (d,) numbers."""


class Actor(Protocol):
    """Anything that acts in one episode at a time: `Policy`, `RemotePolicy`."""

    @property
    def interface(self) -> Interface:
        """Its observations, actions, rate and instructions."""
        ...

    def reset(self, instruction: str | None = None) -> None:
        """Begin an episode."""
        ...

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Choose the next action (A,)."""
        ...


class Instructable(Actor, Protocol):
    """One whose instruction can change within an episode."""

    def instruct(self, instruction: str) -> None:
        """Give another instruction; the memory goes on."""
        ...


class Policy:
    """An exported policy, ready to act in one episode after the other.

    Example:
        policy = Policy.load("policy.onnx")
        policy.reset(instruction="wipe")
        action = policy.act(observation)  # (A,) float32, once every policy.interface.control_dt_s

    Args:
        network: The model; several policies may share one.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.interface = network.interface
        """Its observations, actions, rate and instructions."""
        self._told = False
        self._bound = network.bind()
        self._obs = self._bound.obs[0]
        self._parts = _slots(self.interface, self._obs)
        self._instruction = self._parts.pop(INSTRUCTION, None)
        self._slots = tuple((key, slot, slot.shape) for key, slot in self._parts.items())
        self.reset()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load an exported policy, `policy.onnx`.

        Raises:
            PolicyError: The file is damaged or foreign, or ONNX Runtime is not installed.
            PolicyUsageError: There is no such file.
        """
        return cls(Network.load(path))

    def reset(self, instruction: str | None = None) -> None:
        """Begin an episode: the memory is empty.

        Args:
            instruction: Name of the instruction. None leaves it to the observations, which then
                hold its code; a policy that knows a single one needs none.

        Raises:
            PolicyUsageError: There is no such instruction.
        """
        code = None if instruction is None else self.interface.code(instruction)
        if code is None and len(self.interface.instructions) == 1:
            code = 0
        self._bound.reset()
        self._steps = 0
        self._tell(code)

    def instruct(self, instruction: str) -> None:
        """Give another instruction; the memory goes on.

        Raises:
            PolicyUsageError: There is no such instruction.
        """
        self._tell(self.interface.code(instruction))

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Choose the next action.

        Args:
            observation: Key -> (d,), images (H, W, 3) uint8; keys that the policy does not use
                are ignored.

        Returns:
            (A,) float32, within the bounds of the interface.

        Raises:
            PolicyError: An observation is missing, of another size, or not finite.
        """
        for key, slot, shape in self._slots:
            try:
                value = observation[key]
                if value.shape != shape:  # a broadcast would hide it
                    raise ValueError
                slot[:] = value
            except (KeyError, ValueError, TypeError, AttributeError):
                self._put_anyhow(key, slot, observation)
        if self._instruction is not None and not self._told:
            self._put_anyhow(INSTRUCTION, self._instruction, observation)
        obs = self._obs
        if not math.isfinite(obs.dot(obs)):  # tells it faster than `isfinite`; it may overflow
            self._require_finite()
        every = self.interface.reset_every
        if every is not None and self._steps % every == 0:
            self._bound.reset()
        if self._bound.images:
            self._put_images(observation)
        self._steps += 1
        return self._bound.step()

    def _tell(self, code: int | None) -> None:
        self._told = code is not None
        if self._instruction is not None:
            self._instruction[:] = 0
            if code is not None:
                self._instruction[code] = 1

    def _put_anyhow(self, key: str, slot: NDArray[np.float32], observation: Observation) -> None:
        """Put a value that is no array of the right shape in its place, or say what is wrong."""
        if key not in observation:
            there = ", ".join(map(str, observation)) or "none"
            told = " (or reset(instruction=...))" if key == INSTRUCTION else ""
            raise PolicyError(f"observation {key!r} is missing{told}; there are: {there:.300}")
        try:
            value = np.asarray(observation[key], np.float32)
        except (ValueError, TypeError):
            raise PolicyError(f"observation {key!r}: expected {slot.size} numbers") from None
        if value.shape != slot.shape:
            shapes = f"expected shape {slot.shape}, got {value.shape}"
            raise PolicyError(f"observation {key!r}: {shapes}")
        slot[:] = value

    def _require_finite(self) -> None:
        for key, slot in self._parts.items():
            if not np.isfinite(slot).all():
                raise PolicyError(f"observation {key!r} is not finite")
        if not np.isfinite(self._obs).all():
            raise PolicyError(f"observation {INSTRUCTION!r} is not finite")

    def _put_images(self, observation: Observation) -> None:
        for key, buffer in self._bound.images.items():
            if key not in observation:
                there = ", ".join(map(str, observation)) or "none"
                raise PolicyError(f"observation {key!r} is missing (a camera); there are: {there}")
            image = np.asarray(observation[key])
            if image.shape != buffer.shape[1:] or image.dtype != np.uint8:
                came = f"got {image.shape} {image.dtype}"
                raise PolicyError(f"observation {key!r}: expected {buffer.shape[1:]} uint8, {came}")
            buffer[0] = image


def _slots(interface: Interface, flat: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The place of each observation in the flat one (D,), views of it."""
    slots, start = {}, 0
    for key, size in interface.observations.items():
        slots[key] = flat[start : start + size]
        start += size
    return slots
