"""What a model's text and pictures may ask for, counted before MuJoCo compiles them."""

import math
from collections.abc import Mapping
from xml.parsers import expat

from vand_envs.errors import VandError
from vand_envs.rendering import MAX_PICTURE_PX

MOST: Mapping[str, Mapping[str, int]] = {
    "hfield": {"nrow": 1024, "ncol": 1024},
    "texture": {"width": 4096, "height": 24576, "gridsize": 12},
    "global": {"offwidth": MAX_PICTURE_PX, "offheight": MAX_PICTURE_PX},
    "quality": dict.fromkeys(("numslices", "numstacks", "numquads"), 256)
    | {"shadowsize": 8192, "offsamples": 16},
}
"""Element -> its attributes that cost memory or time, and the most that each may say."""

MAX_DEPTH, MAX_ELEMENTS, MAX_COPIES = 200, 100_000, 10_000
"""Elements within one another; of a model; and what `count` makes of one of them."""

MAX_PIXELS = 1 << 25
"""Of a picture in a file; MuJoCo takes some 15 bytes for each."""

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def at_most(text: str, most: int) -> bool:
    """Whether each number in the text of an attribute is within a bound."""
    try:
        return all(abs(float(number)) <= most for number in text.split())
    except ValueError:
        return False


def require_bounds(name: str, attributes: Mapping[str, str]) -> None:
    """Check the attributes of an element that cost memory or time.

    Raises:
        VandError: One is above its bound.
    """
    for key, most in MOST.get(name, {}).items():
        if key in attributes and not at_most(attributes[key], most):
            raise VandError(
                f"<{name} {key}=...>: expected a number up to {most}, got {attributes[key]!r:.60}"
            )


def require_small_model(content: bytes, name: str) -> None:
    """Check what the text of a robot's model asks for.

    Args:
        content: MJCF.
        name: Where it is from, for messages.

    Raises:
        VandError: It asks for too much, or is no XML.
    """
    parser = expat.ParserCreate("utf-8")  # whatever it declares, as MuJoCo reads it
    walk = _Walk()
    parser.StartElementHandler, parser.EndElementHandler = walk.begin, walk.end
    try:
        parser.Parse(content, True)  # noqa: FBT003  (positional only)
    except expat.ExpatError as error:
        raise VandError(f"{name}: expected MJCF: {error}") from None
    except VandError as error:
        raise VandError(f"{name}: {error}") from None


def require_small_picture(content: bytes, name: str) -> None:
    """Check the size that a PNG declares; other files pass.

    Raises:
        VandError: It has too many pixels.
    """
    if content.startswith(_PNG):
        width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
        if width * height > MAX_PIXELS:
            raise VandError(f"{name}: expected at most {MAX_PIXELS} pixels, got {width} x {height}")


class _Walk:
    """Goes through the elements of a model."""

    def __init__(self) -> None:
        self._elements = 0
        self._copies = [1.0]  # of what is within each open element

    def begin(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element opens."""
        require_bounds(name, attributes)
        self._elements += 1
        self._copies.append(self._copies[-1] * _copies(name, attributes))
        if self._copies[-1] > MAX_COPIES:
            raise VandError(f"<{name} count=...>: expected at most {MAX_COPIES} copies in all")
        if self._elements > MAX_ELEMENTS:
            raise VandError(f"expected at most {MAX_ELEMENTS} elements")
        if len(self._copies) > MAX_DEPTH:
            raise VandError(f"<{name}>: nested deeper than {MAX_DEPTH}")

    def end(self, _: str) -> None:
        """An element closes."""
        self._copies.pop()


def _copies(name: str, attributes: Mapping[str, str]) -> float:
    """How many of what is within an element it makes."""
    if name not in ("replicate", "composite", "flexcomp") or "count" not in attributes:
        return 1
    try:
        return math.prod(max(1.0, float(number)) for number in attributes["count"].split())
    except ValueError:
        return 1  # MuJoCo says what is wrong with it
