"""Arrays of episodes as columns of Arrow tables, and back."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vand_demos.system.files import require_regular
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_NUMBER_BYTES = 8

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
        VandError: It holds something else, or its vectors are of another size.
    """
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        kind = kind.value_type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not plain or column.null_count:
        raise VandError(
            f"a column of vectors: expected numbers, got {column.type} with {column.null_count}"
            f" empty of {len(column)}"
        )
    numbers = column.combine_chunks()
    if isinstance(numbers, pa.ListArray):
        sizes = pc.unique(pc.list_value_length(numbers)).to_pylist()
        if len(sizes) != 1:
            raise VandError(f"a column of vectors: expected one size, got vectors of {sizes!r:.60}")
    if isinstance(numbers, pa.FixedSizeListArray | pa.ListArray):
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


def decode_images(column: pa.ChunkedArray, shape: Sequence[int]) -> NDArray[np.uint8]:
    """The frames (N, H, W, 3) of a column of images.

    Args:
        column: The column.
        shape: Height, width and channels of each image, which are checked before it is decoded.

    Raises:
        VandError: It holds something else, images of another size, or too many of them.
    """
    if not pa.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0:
        raise VandError(f"a column of images: expected {IMAGE}, got {column.type}")
    require_room("a column of images", len(column) * math.prod(shape))
    frames = [_decode_image(cell, tuple(shape)) for cell in column.to_pylist()]
    return np.stack(frames).astype(np.uint8, copy=False)


def _decode_image(cell: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    content = cell.get("bytes") if isinstance(cell, Mapping) else None
    if not isinstance(content, bytes) or not content.startswith(_PNG):
        raise VandError("a column of images: expected PNG files")
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    if (height, width) != shape[:2]:
        raise VandError(
            f"a column of images: expected {shape[0]} x {shape[1]}, got {height} x {width}"
        )
    frame = np.asarray(iio.imread(content, extension=".png"))
    if frame.shape != shape:
        raise VandError(f"a column of images: expected {shape}, got {frame.shape}")
    return frame


def require_small_table(path: Path) -> None:
    """Checks what a Parquet file declares before it is read.

    Raises:
        VandError: It is no regular file, or a table above the limit of memory.
    """
    require_regular(path)
    with pq.ParquetFile(path) as file:
        about = file.metadata
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    # a run of equal numbers takes next to nothing in the file: rows are counted, not bytes alone
    size = sum(group.total_byte_size + _NUMBER_BYTES * _values(group) for group in groups)
    require_room(str(path), max(size, _NUMBER_BYTES * about.num_rows))


def _values(group: Any) -> int:
    return sum(max(0, group.column(i).num_values) for i in range(group.num_columns))
