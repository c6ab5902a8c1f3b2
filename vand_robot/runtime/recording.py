"""Recordings of the real-time loop in numpy's own format: `demos import` reads them."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.driver import STAMP
from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import INSTRUCTION, Interface

RECORDING_FORMAT = "vand-robot-recording 1"
"""The array `format` of a recording."""


class Recording:
    """Observations and actions of one episode, kept in memory until `save`.

    Args:
        interface: Of the policy that acts.
        instruction: Name of the instruction; None where the driver's observations hold its code.
        driver: Name of the driver.
    """

    def __init__(self, interface: Interface, instruction: str | None, driver: str) -> None:
        self.interface, self.instruction, self.driver = interface, instruction, driver
        self.started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        self._observations: list[dict[str, NDArray[Any]]] = []
        self._actions: list[NDArray[np.float32]] = []

    def __len__(self) -> int:
        """Steps so far."""
        return len(self._actions)

    def add(self, observation: Mapping[str, Any], action: NDArray[np.float32]) -> None:
        """Keep one step."""
        numbers = {
            key: np.array(value, np.uint8 if key in self.interface.images else np.float32)
            for key, value in observation.items()
            if key != STAMP and np.ndim(value)
        }
        if self.instruction is not None and self.interface.instructed:
            code = np.zeros(len(self.interface.instructions), np.float32)
            code[self.interface.code(self.instruction)] = 1
            numbers[INSTRUCTION] = code
        self._observations.append(numbers)
        self._actions.append(action.copy())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Observation key -> (N, ...), of those that every step has."""
        keys = [key for key in self._observations[0] if all(key in o for o in self._observations)]
        return {key: np.stack([o[key] for o in self._observations]) for key in keys}

    @property
    def actions(self) -> NDArray[np.float32]:
        """What was sent, (N, A)."""
        return np.stack(self._actions)

    def save(
        self,
        path: Path,
        *,
        success: bool | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the recording; it appears whole or not at all.

        Args:
            path: The file.
            success: Whether the episode went well; None where nobody knows.
            extras: Arrays beside it that a driver has: `states`, `rewards`, `seed`, `model`.

        Raises:
            PolicyError: There is no step, or the disk is full or fails.
        """
        if not self._actions:
            raise PolicyError(f"{path}: nothing was recorded: there was no step")
        content: dict[str, Any] = {f"obs/{key}": value for key, value in self.arrays().items()}
        content |= {
            "format": np.array(RECORDING_FORMAT),
            "actions": self.actions,
            "interface": np.array(self.interface.to_json()),
            INSTRUCTION: np.array(self.instruction or ""),
            "success": np.array("" if success is None else str(bool(success))),
            "driver": np.array(self.driver),
            "recorded_at": np.array(self.started),
            **{f"extra/{name}": np.asarray(value) for name, value in (extras or {}).items()},
        }
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, **content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise PolicyError(f"cannot write {path}: {error.strerror or error}") from None
