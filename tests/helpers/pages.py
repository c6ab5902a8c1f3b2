"""Pages as programs: what a browser's page sends, without a browser."""

import contextlib
import json
import secrets
import urllib.error
import urllib.request

import msgspec
from websockets.sync.client import connect

PROTOCOL = "viser-v1.1.1"

CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": [1.0, 0.0, 0.0, 0.0],
    "position": [3.0, 3.0, 3.0],
    "fov": 1.3,
    "near": 0.01,
    "far": 1000,
    "image_height": 673,
    "image_width": 1100,
    "look_at": [0.0, 0.0, 0.0],
    "up_direction": [0.0, 0.0, 1.0],
}
"""First message of every page."""

PILOT = {"held": [], "event": None, "speed": 0.5, "slow": False, "visible": True, "sent_ms": 0.0}
"""Message of a page at whose controls nobody is."""


def number():
    """The number of a page."""
    return secrets.token_hex(8)


def line(address, page, channel=""):
    """A web socket of a page; `channel` is "pilot" beside viser's own."""
    origin, _, token = address.removesuffix("/").rpartition("/")
    path = f"/{token}/{page}" + (f"/{channel}" if channel else "")
    return connect(
        origin.replace("http", "ws") + path,
        origin=origin,
        subprotocols=None if channel else [PROTOCOL],
        max_size=None,
    )


def packed(content):
    """A message as viser's page sends it."""
    return msgspec.msgpack.encode(content)


def get(address, **headers):
    """Status, headers and content of an answer; redirections are followed."""
    request = urllib.request.Request(address, headers=headers)
    with contextlib.closing(_open(request)) as answer:
        return answer.status, answer.headers, answer.read()


def _open(request):
    try:
        return urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        return error


# fmt: off
SENT_BY_PAGES = (
    "ViewerCameraMessage", "GuiUpdateMessage", "CommandTriggerMessage",
    "TransformControlsUpdateMessage", "TransformControlsDragStartMessage",
    "TransformControlsDragEndMessage", "ScenePointerMessage", "SceneNodeClickMessage",
    "SceneNodeDragMessage", "GuiButtonHoldMessage", "GuiFormSubmitMessage",
    "GuiFormDirtyMessage", "FileTransferStartUpload", "FileTransferPart", "FileTransferPartAck",
    "ShareUrlRequest", "ShareUrlDisconnect", "GetRenderResponseMessage",
    "LocalStorageGetItemResponseMessage", "RunJavascriptMessage", "GuiModalMessage", "Nonsense",
)
# fmt: on
"""Kinds of messages that viser's page sends, and some that only the server does."""

STRANGE = (
    *(float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 0, -1, 2**63, 0.5, 1e-320),
    *("", "x" * 999, "<img src=x onerror=alert(1)>", b"", b"\xff" * 9, None, True, False),
    *([], {}, [[]], [float("nan")] * 3, [1e308] * 3, [0, 0, 0], [0, 0, 0, 0], ["1", "2", "3"]),
    *({"value": []}, {"__binary_index": 0, "dtype": "<f4"}, [1.0] * 9, [None] * 4),
)
"""Values that no control has."""

_FIELDS = (
    *(
        "uuid",
        "updates",
        "name",
        "wxyz",
        "position",
        "owner",
        "frequency",
        "transfer_uuid",
        "phase",
    ),
    *("source_component_uuid", "filename", "mime_type", "part_count", "size_bytes", "payload"),
    *("part_index", "content", "event_type", "ray_origin", "screen_pos", "source", "title"),
)
_PROPERTIES = ("value", "visible", "disabled", "label", "min", "max", "update_cb", "_impl", "")


def random_message(rng, uuids, names):
    """A message that a page could send: nonsense, or nearly sound.

    Args:
        rng: A `random.Random`.
        uuids: Identifiers of controls and commands that there are.
        names: Names of nodes of the scene.
    """
    kind = rng.randrange(7)
    if kind == 0:
        return rng.choice((rng.randbytes(rng.randrange(60)), "text", "{}", b"\x91" * 9999))
    if kind == 1:
        return packed(rng.choice(STRANGE))
    if kind == 2:
        fields = {rng.choice(_FIELDS): rng.choice(STRANGE) for _ in range(rng.randrange(6))}
        return packed({"type": rng.choice(SENT_BY_PAGES), **fields})
    if kind == 3:
        changed = {rng.choice([*CAMERA]): rng.choice(STRANGE)}
        return packed({**CAMERA, **changed} if rng.random() < 0.9 else CAMERA)
    if kind == 4:
        place = {"wxyz": [1.0, 0.0, 0.0, 0.0], "position": [0.4, 0.1, 0.8]}
        place[rng.choice([*place])] = rng.choice(STRANGE)
        said = {"type": rng.choice(SENT_BY_PAGES[3:6]), "name": rng.choice(names), "owner": ""}
        return packed({**said, **place} if rng.random() < 0.7 else said)
    value = {rng.choice(_PROPERTIES): rng.choice((*STRANGE, *names, "wipe", "1 x", 0.25, 1))}
    sent = {"type": rng.choice(SENT_BY_PAGES[1:3]), "uuid": rng.choice(uuids), "updates": value}
    if kind == 5:
        sent.pop(rng.choice(("uuid", "updates")))
    return packed(sent)


def random_pilot(rng):
    """A message on the line of a page that drives: nonsense, or nearly sound."""
    if rng.random() < 0.2:
        return rng.choice((rng.randbytes(rng.randrange(60)), "{", "[" * 5000, "null", '"\\ud800"'))
    said = {**PILOT, "held": rng.choice(([], ["ahead"], ["hand_up", "x"], [[]], "ahead", None))}
    events = (None, "gripper", "start", "save", "discard", "view hand", "show", "", 3, [], "x")
    said["event"] = rng.choice(events)
    if rng.random() < 0.5:
        said[rng.choice([*said])] = rng.choice([v for v in STRANGE if not isinstance(v, bytes)])
    return json.dumps(said)
