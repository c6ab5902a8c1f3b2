"""What a policy sees of an observation: its keys side by side, checked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vand_envs.errors import VandError
from vand_envs.typing import Float32Array
from vand_robot.interface import PolicySpec


class ObservationReader:
    """Reads what a policy sees of the observations of one episode, or of n that advance together.

    Args:
        spec: The policy's interface.
    """

    def __init__(self, spec: PolicySpec) -> None:
        self._spec = spec
        self._keys = tuple(spec.observations)
        self._sizes = list(spec.observations.values())

    def is_single(self, observation: Mapping[str, NDArray[Any]]) -> bool:
        """Whether it is of one episode, as a Gymnasium environment has it: (d,) and not (n, d)."""
        first = observation.get(self._keys[0])
        return first is not None and np.ndim(first) == 1

    def batch_of_one(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The parts of one observation that the policy sees, as a batch of one."""
        keys = [key for key in (*self._keys, *self._spec.images) if key in observation]
        return {key: np.asarray(observation[key])[None] for key in keys}

    def flatten(self, observation: Mapping[str, NDArray[Any]], single: bool) -> Float32Array:
        """What the policy sees side by side, (n, D); (1, D) of a single one.

        Raises:
            VandError: A part is missing, or of another size.
        """
        try:
            parts = [observation[key] for key in self._keys]
            x = np.concatenate(parts, axis=-1, dtype=np.float32)
            found = [len(part) for part in parts] if single else [part.shape[1] for part in parts]
        except (KeyError, ValueError, TypeError, AttributeError, IndexError):
            raise VandError(self._misfit(observation, single)) from None
        if found != self._sizes or x.ndim != (1 if single else 2):
            raise VandError(self._misfit(observation, single))
        return x[None] if single else x

    def require_finite(self, observation: Mapping[str, NDArray[Any]]) -> None:
        """Raise VandError for an observation that is not finite as float32."""
        for key in self._keys:
            with np.errstate(over="ignore"):
                finite = np.isfinite(np.asarray(observation[key], np.float32)).all()
            if not finite:
                raise VandError(f"observation {key!r} is not finite")

    def _misfit(self, observation: Mapping[str, NDArray[Any]], single: bool) -> str:
        """The reason why the policy cannot see an observation."""
        batch = self.batch_of_one(observation) if single else observation
        for key in self._keys:
            if key not in observation:
                return f"observation {key!r} is missing; there are: {', '.join(observation)}"
        n = len(batch[self._keys[0]])
        for key, size in zip(self._keys, self._sizes, strict=True):
            shape = np.shape(batch[key])
            if shape != (n, size):
                return f"observation {key!r}: the policy expects shape ({n}, {size}), got {shape}"
        return "the observation cannot be read as float32 numbers"


def images_of(
    spec: PolicySpec, observation: Mapping[str, NDArray[Any]], n: int
) -> dict[str, Tensor]:
    """The images (n, H, W, 3) that the policy sees, checked."""
    for key, size in spec.images.items():
        if key not in observation:
            raise VandError(
                f"observation {key!r} is missing (a camera); there are: {', '.join(observation)}"
            )
        image, shape = observation[key], (n, *size, 3)
        if image.shape != shape or image.dtype != np.uint8:
            came = f"{image.shape} {image.dtype}"
            raise VandError(f"observation {key!r}: the policy expects {shape} uint8, got {came}")
    return {key: torch.tensor(observation[key], device="cpu") for key in spec.images}
