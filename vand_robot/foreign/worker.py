"""The far side of `RemoteEnv`: plays one Gymnasium environment for a parent over pipes.

This file is a script, `PYTHON worker.py`, for an interpreter that may have another MuJoCo and no
torch. So it imports nothing but the standard library, numpy and gymnasium; Python 3.8 will do.

A message is a frame: the length of its head (4 bytes, big-endian), the head (JSON), the length of
its body (8 bytes), the body. The body is the arrays that the head declares under `arrays`, a list
of `[name, type, shape]`, end to end. The parent writes to standard input and reads standard output;
whatever the environment prints goes to standard error.

    {"op": "make", "id": "MODULE:ID", "kwargs": {}, "policy": "module:factory" or null, "path": []}
        -> {"observation": SPACE, "action": SPACE, "control_dt_s": seconds or null, "versions": {}}
    {"op": "reset", "seed": 3, "options": null}   -> {"info": {}}, arrays: the observation
    {"op": "step"}, array "action"                -> {"reward", "terminated", "truncated", "info"}
    {"op": "act"}                                 -> array "action": the policy's, if there is one
    {"op": "close"}                               -> {}

A keyword argument that is the text `{seed}` stands for the seed of an episode: `reset` with a seed
makes the environment anew with it. For environments whose starts follow from an argument alone.

Every answer has `"ok": true`, or `"ok": false` and `"error"`, one line. A SPACE is one of

    {"kind": "box", "shape": [], "dtype": "float32", "low": [], "high": []}   null where unbounded
    {"kind": "discrete", "n": 4, "start": 0}
    {"kind": "dict", "spaces": {"key": SPACE}}    nested ones are flat: "outer.inner"
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import os
import platform
import struct
import sys
from typing import Any, BinaryIO

import gymnasium
import numpy as np
from gymnasium import spaces

SEED = "{seed}"
"""Keyword argument that stands for the seed of an episode."""

MAX_HEAD_BYTES = 1 << 24
"""Bound of a head, on both sides [bytes]."""


def write_frame(stream: BinaryIO, head: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write one message.

    Args:
        stream: Where to.
        head: What JSON can hold.
        arrays: Name -> array.
    """
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # the shape of the original: `ascontiguousarray` makes a vector of a single number
    about = [[name, a.dtype.str, list(np.shape(arrays[name]))] for name, a in parts.items()]
    text = json.dumps({**head, "arrays": about}).encode()
    body = b"".join(array.tobytes() for array in parts.values())
    stream.write(struct.pack(">I", len(text)) + text + struct.pack(">Q", len(body)) + body)
    stream.flush()


def read_frame(stream: BinaryIO, most_bytes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one message: its head, and its arrays by name.

    Args:
        stream: Where from.
        most_bytes: Bound of the body [bytes].

    Raises:
        EOFError: The other side has gone.
        ValueError: It is no such message, or too large.
    """
    (size,) = struct.unpack(">I", _exactly(stream, 4))
    if size > MAX_HEAD_BYTES:
        raise ValueError(f"expected a head of at most {MAX_HEAD_BYTES} bytes, got {size}")
    head = json.loads(_exactly(stream, size))
    (size,) = struct.unpack(">Q", _exactly(stream, 8))
    if size > most_bytes:
        raise ValueError(f"expected a message of at most {most_bytes} bytes, got {size}")
    body = _exactly(stream, size)
    if not isinstance(head, dict):
        raise ValueError("expected a mapping for a head")  # noqa: TRY004
    arrays, at = {}, 0
    for name, kind, shape in head.pop("arrays", []):
        dtype = np.dtype(kind)
        if dtype.kind not in "biuf":
            raise ValueError(f"array {name!r}: expected numbers, got {dtype}")
        count = math.prod(int(axis) for axis in shape)
        length = count * dtype.itemsize
        if count < 0 or at + length > len(body):
            raise ValueError(f"array {name!r}: the message is too short for shape {shape}")
        arrays[str(name)] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
        at += length
    return head, arrays


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """So many bytes; a pipe may give them in pieces."""
    parts, left = [], size
    while left:
        part = stream.read(min(left, 1 << 20))
        if not part:
            raise EOFError("the other side has gone")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def describe_space(space: Any) -> dict[str, Any]:
    """A Gymnasium space as what JSON can hold, see the top of this file.

    Raises:
        ValueError: It is of a kind that has no place here.
    """
    if isinstance(space, spaces.Box):
        ends = {"low": _finite(space.low), "high": _finite(space.high)}
        return {"kind": "box", "shape": list(space.shape), "dtype": str(space.dtype), **ends}
    if isinstance(space, spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, (spaces.MultiBinary, spaces.MultiDiscrete)):
        shape = list(space.shape or ())
        return {"kind": "box", "shape": shape, "dtype": str(space.dtype), "low": None, "high": None}
    if isinstance(space, spaces.Dict):
        flat: dict[str, Any] = {}
        for key, inner in space.spaces.items():
            about = describe_space(inner)
            nested = about["kind"] == "dict"
            flat.update(
                {f"{key}.{k}": s for k, s in about["spaces"].items()} if nested else {key: about}
            )
        return {"kind": "dict", "spaces": flat}
    raise ValueError(f"expected a Box, Discrete or Dict space, got {type(space).__name__}")


def _finite(bound: Any) -> list[float] | None:
    """A bound as a flat list; None where it is infinite, or would be a number for each pixel."""
    flat = np.asarray(bound, np.float64).ravel()
    return flat.tolist() if flat.size <= 4096 and np.isfinite(flat).all() else None


def flatten(observation: Any, prefix: str = "") -> dict[str, Any]:
    """An observation as arrays by key: `observation` where it is one array."""
    if isinstance(observation, dict):
        found: dict[str, Any] = {}
        for key, value in observation.items():
            found.update(flatten(value, f"{prefix}{key}."))
        return found
    return {prefix[:-1] or "observation": np.asarray(observation)}


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    """The numbers and truth values of an `info`; the rest stays here."""
    kept = {}
    for key, value in info.items():
        if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            number = value.item() if isinstance(value, np.generic) else value
            if isinstance(number, (bool, int)) or math.isfinite(number):
                kept[str(key)] = number
    return kept


class Worker:
    """One environment, and the policy that acts in it, if there is one."""

    def __init__(self) -> None:
        self.env: Any = None
        self.policy: Any = None
        self.observation: Any = None
        self.asked: dict[str, Any] = {}

    def make(self, head: dict[str, Any]) -> dict[str, Any]:
        """Make the environment, and the policy where one is named."""
        sys.path[:0] = [str(folder) for folder in head.get("path", [])]
        self.asked = head
        self._begin(0)
        return {
            "observation": describe_space(self.env.observation_space),
            "action": describe_space(self.env.action_space),
            "control_dt_s": control_step(self.env),
            "versions": versions(),
        }

    def _begin(self, seed: int) -> None:
        """Make what was asked for, for an episode of that seed."""
        if self.env is not None:
            self.env.close()
        given = self.asked.get("kwargs", {})
        arguments: dict[str, Any] = {
            name: seed if value == SEED else value for name, value in given.items()
        }
        self.env = gymnasium.make(str(self.asked["id"]), **arguments)
        if self.asked.get("policy"):
            module, _, name = str(self.asked["policy"]).partition(":")
            self.policy = _build(getattr(importlib.import_module(module), name), self.env)

    def answer(
        self, head: dict[str, Any], arrays: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Carry out one message: the head and the arrays of the answer."""
        op = head["op"]
        if op == "make":
            return self.make(head), {}
        if op == "reset":
            if head["seed"] is not None and SEED in self.asked.get("kwargs", {}).values():
                self._begin(int(head["seed"]))
            self.observation, info = self.env.reset(seed=head["seed"], options=head["options"])
            if hasattr(self.policy, "reset"):
                self.policy.reset()
            return {"info": _plain(info)}, flatten(self.observation)
        if op == "step":
            space = self.env.action_space
            action = arrays["action"]
            action = int(action.ravel()[0]) if isinstance(space, spaces.Discrete) else action
            self.observation, reward, terminated, truncated, info = self.env.step(action)
            told = {"reward": float(reward), "terminated": bool(terminated)}
            return {**told, "truncated": bool(truncated), "info": _plain(info)}, flatten(
                self.observation
            )
        if op == "act":
            return {}, {"action": np.asarray(self.policy(self.observation))}
        raise ValueError(f"unknown message {op!r}")


def _build(factory: Any, env: Any) -> Any:
    """The policy of a factory, which may take the environment."""
    wants = [
        p
        for p in inspect.signature(factory).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    policy = factory(env) if wants else factory()
    if not callable(policy):
        raise TypeError(f"the factory made {type(policy).__name__}, expected observation -> action")
    return policy


def control_step(env: Any) -> float | None:
    """The time between two actions, where the environment says it [s]."""
    step = getattr(env.unwrapped, "dt", None)
    if isinstance(step, (int, float)) and step > 0:
        return float(step)
    rate = (getattr(env.unwrapped, "metadata", None) or {}).get("render_fps")
    return 1.0 / float(rate) if isinstance(rate, (int, float)) and rate > 0 else None


def versions() -> dict[str, str]:
    """Versions of the software here that an episode depends on."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    found["gymnasium"] = str(gymnasium.__version__)
    if "mujoco" in sys.modules:
        found["mujoco"] = str(sys.modules["mujoco"].__version__)
    return found


def main() -> None:
    """Answer messages until the parent closes the pipe."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the environment prints must not get among the messages
    worker = Worker()
    while True:
        try:
            head, arrays = read_frame(sys.stdin.buffer, 1 << 40)
        except EOFError:
            return
        if head.get("op") == "close":
            write_frame(out, {"ok": True}, {})
            return
        try:
            answer, sent = worker.answer(head, arrays)
        except Exception as error:  # noqa: BLE001  (whatever it is, the parent says it)
            text = " ".join(str(error).split()) or "no more is known"
            write_frame(out, {"ok": False, "error": f"{type(error).__name__}: {text}"[:400]}, {})
        else:
            write_frame(out, {"ok": True, **answer}, sent)


if __name__ == "__main__":
    main()
