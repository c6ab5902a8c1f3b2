"""Array types used across the environments."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""Physics is computed in double precision."""

Float32Array = npt.NDArray[np.float32]
"""Observations and actions."""

ImageArray = npt.NDArray[np.uint8]
"""Camera images, (..., H, W, 3) in RGB."""

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Observation = Mapping[str, Float32Array]
"""Observation key -> (n, d) float32."""
