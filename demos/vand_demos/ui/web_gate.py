"""What a page may say to viser: known kinds, known controls, values of their type and range.

viser takes whatever comes for the state of its controls, sends it on to the other pages, and lets
any page start uploads or a tunnel to the internet. So each message is looked at before viser is.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import viser
from viser import (
    GuiButtonGroupHandle,
    GuiButtonHandle,
    GuiDropdownHandle,
    GuiNumberHandle,
    GuiSliderHandle,
)

MAX_MESSAGE_BYTES = 1 << 16
"""Longest message of a page; a real one has a few hundred bytes."""
FARTHEST_M = 1e5
"""Farthest place that a page may name [m]: viser's camera goes no farther than 1e4."""
LARGEST_NUMBER = 10**6
"""Bound of a number whose control has none."""

_MOST_PIXELS = 1 << 15
_UNIT = (0.99, 1.01)
"""Bounds of a unit quaternion's norm: pages compute in single precision."""
_CAMERA, _CONTROL, _COMMAND = "ViewerCameraMessage", "GuiUpdateMessage", "CommandTriggerMessage"
_CAMERA_PIXELS = ("image_height", "image_width")
_CAMERA_PLACES = ("position", "look_at", "up_direction")
_CAMERA_NUMBERS = ("fov", "near", "far")
_DRAG = "TransformControlsUpdateMessage"
_DRAG_ENDS = ("TransformControlsDragStartMessage", "TransformControlsDragEndMessage")


class PageMessages:
    """Messages of one page on one connection.

    Args:
        server: The server, whose controls are known; None before there is one.
        drives: Whether the page may move what is in the scene, asked for each message.
    """

    def __init__(
        self, server: Callable[[], viser.ViserServer | None], drives: Callable[[], bool]
    ) -> None:
        self._server, self._drives = server, drives
        self._has_camera = False

    def admits(self, raw: str | bytes) -> bool:
        """Whether a message may go on to viser."""
        server, said = self._server(), _decoded(raw)
        if server is None or said is None:
            return False
        kind = said.pop("type", None)
        if kind == _CAMERA:
            self._has_camera |= (sound := _is_camera(said))
            return sound
        # viser answers a page once it knows its camera
        return self._has_camera and self._is_request(server, kind, said)

    def _is_request(self, server: viser.ViserServer, kind: object, said: Mapping[str, Any]) -> bool:
        if kind == _CONTROL:
            return _is_control(server, said)
        if kind == _COMMAND:
            known = server.gui._command_handle_from_uuid  # noqa: SLF001  (no public way)
            return said.keys() == {"uuid"} and _is_key_of(known, said["uuid"])
        return self._drives() and _is_drag(server, kind, said)


def _decoded(raw: str | bytes) -> dict[str, Any] | None:
    """The content of a message; None where it is no object."""
    if not isinstance(raw, bytes):
        return None
    try:
        said = msgspec.msgpack.decode(raw)
    except (ValueError, RecursionError):
        return None
    named = isinstance(said, dict) and all(isinstance(key, str) for key in said)
    return said if named else None


def _is_camera(said: Mapping[str, Any]) -> bool:
    names = {"wxyz", *_CAMERA_PIXELS, *_CAMERA_PLACES, *_CAMERA_NUMBERS}
    if said.keys() != names:
        return False
    return (
        _is_unit(said["wxyz"])
        and all(_is_place(said[name]) for name in _CAMERA_PLACES)
        and all(_is_whole(said[name], 1, _MOST_PIXELS) for name in _CAMERA_PIXELS)
        and _is_number(said["fov"], 1e-3, math.pi)
        and _is_number(said["near"], 1e-6, FARTHEST_M)
        and _is_number(said["far"], said["near"], FARTHEST_M)
        and _distance(said["position"], said["look_at"]) > 1e-6
        and _distance(said["up_direction"], (0, 0, 0)) > 1e-6
    )


def _is_control(server: viser.ViserServer, said: Mapping[str, Any]) -> bool:
    """Whether a control that is there takes a value that it can have."""
    known = server.gui._gui_input_handle_from_uuid  # noqa: SLF001  (no public way)
    if said.keys() != {"uuid", "updates"} or not _is_key_of(known, said["uuid"]):
        return False
    updates = said["updates"]
    if not isinstance(updates, dict) or updates.keys() != {"value"}:
        return False
    return fits(known[said["uuid"]], updates["value"])


def fits(control: Any, value: Any) -> bool:
    """Whether a page may set a control to a value; of kinds that are not used here, none."""
    if isinstance(control, GuiButtonHandle):
        return value is True
    if isinstance(control, GuiButtonGroupHandle | GuiDropdownHandle):
        return isinstance(value, str) and value in control.options
    if isinstance(control, GuiSliderHandle):
        slack = 1e-9 * max(1.0, abs(control.max))
        return _is_number(value, control.min - slack, control.max + slack)
    if isinstance(control, GuiNumberHandle):
        low = -LARGEST_NUMBER if control.min is None else control.min
        high = LARGEST_NUMBER if control.max is None else control.max
        whole = isinstance(control.value, int)
        return _is_whole(value, low, high) if whole else _is_number(value, low, high)
    return False


def _is_drag(server: viser.ViserServer, kind: object, said: Mapping[str, Any]) -> bool:
    """Whether a gizmo that is there was grabbed, let go, or moved to a place."""
    place = {"wxyz", "position"} if kind == _DRAG else set()
    if (kind != _DRAG and kind not in _DRAG_ENDS) or said.keys() - {"owner"} != {"name", *place}:
        return False
    if said.get("owner", "") != "" or not isinstance(said["name"], str):
        return False
    gizmos = server.scene._handle_from_transform_controls_name  # noqa: SLF001  (no public way)
    if said["name"] not in gizmos:
        return False
    return not place or (_is_unit(said["wxyz"]) and _is_place(said["position"]))


def _is_key_of(known: Mapping[str, Any], key: object) -> bool:
    return isinstance(key, str) and key in known


def _is_number(value: object, low: float, high: float) -> bool:
    """Whether it is a number within bounds; nan is within none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_whole(value: object, low: float, high: float) -> bool:
    return _is_number(value, low, high) and float(value).is_integer()  # type: ignore[arg-type]


def _is_vector(value: object, size: int, bound: float) -> bool:
    return (
        isinstance(value, list)
        and len(value) == size
        and all(_is_number(number, -bound, bound) for number in value)
    )


def _is_place(value: object) -> bool:
    return _is_vector(value, 3, FARTHEST_M)


def _is_unit(value: object) -> bool:
    """Whether it is a unit quaternion."""
    return _is_vector(value, 4, 2.0) and _is_number(math.hypot(*value), *_UNIT)  # type: ignore[misc]


def _distance(one: Any, other: Any) -> float:
    return math.dist(one, other)
