"""Checks of what a policy is shown when it acts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vand_envs.errors import VandError
from vand_robot.interface import PolicySpec


def checked_images(
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


def misfit(spec: PolicySpec, observation: Mapping[str, NDArray[Any]]) -> str:
    """The reason why the policy cannot see an observation."""
    for key in spec.observations:
        if key not in observation:
            return f"observation {key!r} is missing; there are: {', '.join(observation)}"
    n = len(observation[next(iter(spec.observations))])
    for key, size in spec.observations.items():
        shape = np.shape(observation[key])
        if shape != (n, size):
            return f"observation {key!r}: the policy expects shape ({n}, {size}), got {shape}"
    return "the observation cannot be read as float32 numbers"


def require_finite(observation: Mapping[str, NDArray[Any]], keys: tuple[str, ...]) -> None:
    """Raise VandError for an observation that is not finite as float32."""
    for key in keys:
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.asarray(observation[key], np.float32)).all()
        if not finite:
            raise VandError(f"observation {key!r} is not finite")
