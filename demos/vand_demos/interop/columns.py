"""Arrays of episodes as columns of Arrow tables, and back."""

from collections.abc import Sequence
from typing import Any

import imageio.v3 as iio
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vand_envs.errors import VandError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image in a cell, as Hugging Face's `datasets` stores it."""


def vector(dtype: Any, size: int) -> pa.DataType:
    """The type of a column of vectors; of single numbers where the size is 1."""
    number = pa.from_numpy_dtype(dtype)
    return number if size == 1 else pa.list_(number, size)


def encode_vectors(rows: NDArray[Any]) -> pa.Array:
    """A column of vectors, from (N, ...)."""
    flat = rows.reshape(len(rows), -1)
    numbers = pa.array(flat.reshape(-1))
    return (
        numbers if flat.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(numbers, flat.shape[1])
    )


def decode_vectors(column: pa.ChunkedArray, shape: Sequence[int]) -> NDArray[Any]:
    """The array (N, *shape) of a column of vectors.

    Raises:
        VandError: Its vectors are of another size.
    """
    numbers = column.combine_chunks()
    if isinstance(numbers, pa.FixedSizeListArray):
        numbers = numbers.flatten()
    values = np.asarray(numbers.to_numpy(zero_copy_only=False))
    try:
        return values.reshape(len(column), *shape)
    except ValueError:
        raise VandError(
            f"a column of vectors: expected {len(column)} of shape {tuple(shape)},"
            f" got {values.size} numbers"
        ) from None


def encode_images(frames: NDArray[np.uint8]) -> pa.Array:
    """A column of images (N, H, W, 3), each compressed without loss (PNG)."""
    cells = [
        {"bytes": iio.imwrite("<bytes>", frame, extension=".png"), "path": None} for frame in frames
    ]
    return pa.array(cells, IMAGE)


def decode_images(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The frames (N, H, W, 3) of a column of images.

    Raises:
        VandError: It holds something else, or images of several sizes.
    """
    if not pa.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0:
        raise VandError(f"a column of images: expected {IMAGE}, got {column.type}")
    frames = [iio.imread(cell["bytes"], extension=".png") for cell in column.to_pylist()]
    sizes = {frame.shape for frame in frames}
    if len(sizes) != 1:
        raise VandError(f"a column of images: expected one size, got {sorted(sizes)}")
    return np.stack(frames).astype(np.uint8, copy=False)
