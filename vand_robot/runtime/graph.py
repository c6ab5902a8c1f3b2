"""The operators of an ONNX model, read from its bytes: the runtime needs no package for ONNX.

An ONNX file is a message of Protocol Buffers: fields with a number, each a varint, 8 or 4 bytes, or
a length and so many bytes (https://protobuf.dev/programming-guides/encoding). Only what leads to
the names of operators is followed; the numbers of the fields are those of onnx.proto.
"""

from collections.abc import Iterator

from vand_robot.runtime.errors import PolicyError

REPEATING = frozenset({"Loop", "Scan", "If", "SequenceMap"})
"""Operators that hold graphs of their own and may run for ever; an exported policy has none."""

_GRAPH, _FUNCTIONS = 7, 25
"""Fields of a model."""
_GRAPH_NODE, _FUNCTION_NODE = 1, 7
"""Fields of a graph and of a function."""
_OPERATOR = 4
"""Field of a node: the name of its operator."""


def require_no_loop(content: bytes, source: str) -> None:
    """Check that a model holds no operator that may run for ever.

    Args:
        content: The file's bytes.
        source: Where they are from, for messages.

    Raises:
        PolicyError: It holds one, or is no ONNX model.
    """
    try:
        for name in operators(content):
            if name in REPEATING:
                raise PolicyError(f"{source}: operator {name} is refused: a policy needs none")
    except (IndexError, ValueError):
        raise PolicyError(f"{source}: damaged or no ONNX model") from None


def operators(content: bytes) -> Iterator[str]:
    """The name of each operator of a model and of its functions.

    Raises:
        IndexError: It ends in the middle of something.
        ValueError: It is no such message.
    """
    model = memoryview(content)
    for parts, node in ((_GRAPH, _GRAPH_NODE), (_FUNCTIONS, _FUNCTION_NODE)):
        for part in _members(model, parts):
            for entry in _members(part, node):
                for name in _members(entry, _OPERATOR):
                    yield bytes(name).decode("utf-8", "replace")


def _members(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The parts of a message that have a number and a length."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            _, place = _varint(message, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            size, place = _varint(message, place)
            if key >> 3 == wanted:
                yield message[place : place + size]
            place += size
        else:
            raise ValueError(f"a field of kind {kind}")
        if place > len(message):
            raise IndexError(place)


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")
