"""Messages of the policy server: msgpack, with arrays as openpi's clients and servers write them.

An array is a mapping of the byte strings `__ndarray__`, `data`, `dtype` and `shape`, a numpy number
one of `__npgeneric__`, `data` and `dtype`. Nothing of it can name code; object arrays are refused.
"""

from typing import Any

import numpy as np

from vand_robot.runtime.errors import PolicyError, gist

MAX_MESSAGE_BYTES = 1 << 26
"""Bound of a message: an observation with a dozen images, and more [bytes]."""
MAX_ENTRIES = 4096
"""Bound of the entries of a list or a mapping of a message."""


def _msgpack() -> Any:
    try:
        import msgpack  # noqa: PLC0415  (an extra)
    except ImportError:
        raise PolicyError("msgpack is not installed: pip install vand-robot[serve]") from None
    return msgpack


def pack(message: Any) -> bytes:
    """The bytes of a message of plain values and arrays."""
    packed: bytes = _msgpack().packb(message, default=_plain)
    return packed


def unpack(content: bytes) -> Any:
    """The message of some bytes.

    Raises:
        PolicyError: It is no message, or an array in it is not as it says.
    """
    msgpack = _msgpack()
    try:
        return msgpack.unpackb(
            content,
            object_hook=_array,
            max_array_len=MAX_ENTRIES,
            max_map_len=MAX_ENTRIES,
            strict_map_key=False,
        )
    except Exception as error:  # noqa: BLE001  (its errors have no common base)
        raise PolicyError(f"not a message: {gist(error)}") from None


def _plain(value: Any) -> Any:
    """An array or a number of numpy's as what msgpack can hold."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "VOcM":
        raise TypeError(f"cannot send an array of {value.dtype}")
    if isinstance(value, np.ndarray):
        content = {b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
        return {b"__ndarray__": True, **content}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"cannot send {type(value).__name__}")


def _array(found: dict[Any, Any]) -> Any:
    """The array or number that a mapping stands for; other mappings are themselves."""
    if b"__ndarray__" in found:
        dtype = _dtype(found[b"dtype"])
        shape = tuple(int(axis) for axis in found[b"shape"])
        if any(axis < 0 for axis in shape) or len(shape) > 8:
            raise ValueError(f"an array of shape {shape}")
        return np.frombuffer(found[b"data"], dtype).reshape(shape)
    if b"__npgeneric__" in found:
        with np.errstate(over="ignore"):
            return _dtype(found[b"dtype"]).type(found[b"data"])
    return found


def _dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(name.decode() if isinstance(name, bytes) else str(name))
    if dtype.kind not in "biufU":
        raise ValueError(f"an array of {dtype}")
    return dtype
