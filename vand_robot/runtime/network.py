"""The exported network in ONNX Runtime: observations and a state in, actions and a state out."""

import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import PolicyError, PolicyUsageError, gist
from vand_robot.runtime.graph import require_no_loop
from vand_robot.runtime.interface import METADATA_KEY, REFERENCES_KEY, Interface

State = tuple[NDArray[np.float32], ...]
"""The memory: `h`, and for an LSTM `c`, (layers, n, size) each."""

DEFAULT_BYTES = 1 << 30
"""Largest model that is read, unless `VAND_MAX_BYTES` says otherwise [bytes]."""


class Network:
    """A model that `vand-robot export` wrote, on one core.

    Args:
        content: The file's bytes.
        source: Where they are from, for messages.

    Raises:
        PolicyError: It is no such model, or ONNX Runtime is not installed.
    """

    def __init__(self, content: bytes, source: str) -> None:
        self.source = source
        require_no_loop(content, source)
        self._session = _open(content, source)
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:  # its texts are read only now
            raise PolicyError(f"{source}: damaged or no ONNX model: {gist(error)}") from None
        if METADATA_KEY not in metadata:
            raise PolicyError(f"{source}: not a model of vand-robot export (no {METADATA_KEY})")
        self.interface = Interface.from_json(metadata[METADATA_KEY], source)
        """Its observations, actions, rate and instructions."""
        self.references_json: str = metadata.get(REFERENCES_KEY, "")
        """What the demonstrations showed, as JSON; empty where nothing did."""
        states = tuple(self.interface.state)
        self._outputs = ["actions", *(f"{name}_out" for name in states)]
        self._state_inputs = tuple(f"{name}_in" for name in states)
        self._require_fit()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load the model of a file.

        Raises:
            PolicyError: It is no regular file, too large, damaged or foreign.
            PolicyUsageError: There is none.
        """
        return cls(_read(Path(path)), str(path))

    def initial_state(self, n: int = 1) -> State:
        """The memory at the beginning of n episodes: empty."""
        shapes = self.interface.state.values()
        return tuple(np.zeros((layers, n, size), np.float32) for layers, size in shapes)

    def step(
        self,
        obs: NDArray[np.float32],
        images: Mapping[str, NDArray[np.uint8]],
        state: State,
    ) -> tuple[NDArray[np.float32], State]:
        """Advance n episodes by one step.

        Args:
            obs: (n, D) observations side by side.
            images: Camera -> (n, H, W, 3).
            state: The memory.

        Returns:
            (n, A) actions and the memory after them.

        Raises:
            PolicyError: ONNX Runtime fails, or an action is not finite.
        """
        feed: dict[str, Any] = {"obs": obs, **images}
        feed.update(zip(self._state_inputs, state, strict=True))
        try:
            actions, *after = self._session.run(self._outputs, feed)
        except Exception as error:  # noqa: BLE001  (its errors have no common base)
            raise PolicyError(f"{self.source}: the model failed: {gist(error)}") from None
        if not np.isfinite(np.vdot(actions, actions)):
            raise PolicyError("the policy's action is not finite, its observation is")
        return actions, tuple(after)

    def bind(self) -> "BoundNetwork":
        """The network of one episode on buffers of its own: half of the time of `step`."""
        return BoundNetwork(self._session, self.interface, self.source)

    def _require_fit(self) -> None:
        """Checks that inputs and outputs of the graph are what the metadata says."""
        interface = self.interface
        expected: dict[str, Sequence[int]] = {"obs": (interface.observation_size,)}
        expected |= {key: (*size, 3) for key, size in interface.images.items()}
        expected |= {f"{key}_in": (size,) for key, (_, size) in interface.state.items()}
        came = {entry.name: entry.shape for entry in self._session.get_inputs()}
        if sorted(came) != sorted(expected):
            names = f"expected inputs {', '.join(expected)}, got {', '.join(came)}"
            raise PolicyError(f"{self.source}: {names}")
        for name, ends in expected.items():
            if tuple(came[name][-len(ends) :]) != tuple(ends):
                shapes = f"expected (..., {', '.join(map(str, ends))}), got {came[name]}"
                raise PolicyError(f"{self.source}: input {name}: {shapes}")
        for key, (layers, _) in interface.state.items():
            if came[f"{key}_in"][0] != layers:
                shapes = f"expected ({layers}, n, ...), got {came[f'{key}_in']}"
                raise PolicyError(f"{self.source}: input {key}_in: {shapes}")
        if (size := interface.buffer_bytes) > _limit_bytes():
            raise PolicyError(f"{self.source}: one step takes {size} bytes, more than the limit")
        outputs = {entry.name: entry.shape for entry in self._session.get_outputs()}
        missing = [name for name in self._outputs if name not in outputs]
        if missing or outputs["actions"][-1] != interface.action_size:
            raise PolicyError(f"{self.source}: its outputs are not those of its metadata")


class BoundNetwork:
    """A network of one episode, whose inputs and outputs stay where they are in memory.

    Args:
        session: The session.
        interface: Its observations, actions and state.
        source: Where it is from, for messages.
    """

    def __init__(self, session: Any, interface: Interface, source: str) -> None:
        self._session, self._source = session, source
        self.obs = np.zeros((1, interface.observation_size), np.float32)
        """(1, D) observations side by side: write here."""
        self.images = {
            key: np.zeros((1, *size, 3), np.uint8) for key, size in interface.images.items()
        }
        """Camera -> (1, H, W, 3): write here."""
        self._actions = np.zeros((1, interface.action_size), np.float32)
        # two places for the state: each step reads from one and writes to the other, in turn
        self._states = [
            {key: np.zeros((layers, 1, size), np.float32) for key, (layers, size) in state}
            for state in [list(interface.state.items())] * 2
        ]
        self._bindings = [self._bound(*self._states), self._bound(*self._states[::-1])]
        self._turn = 0

    def reset(self) -> None:
        """Empty the memory."""
        for part in self._states[self._turn].values():
            part[:] = 0

    def step(self) -> NDArray[np.float32]:
        """Advance by one step: the actions (A,) for what `obs` and `images` hold.

        Raises:
            PolicyError: ONNX Runtime fails, or an action is not finite.
        """
        try:
            self._session.run_with_iobinding(self._bindings[self._turn])
        except Exception as error:  # noqa: BLE001  (its errors have no common base)
            raise PolicyError(f"{self._source}: the model failed: {gist(error)}") from None
        self._turn = 1 - self._turn
        actions: NDArray[np.float32] = self._actions[0].copy()
        if not math.isfinite(actions.dot(actions)):
            raise PolicyError("the policy's action is not finite, its observation is")
        return actions

    def _bound(
        self, before: dict[str, NDArray[np.float32]], after: dict[str, NDArray[np.float32]]
    ) -> Any:
        binding = self._session.io_binding()
        inputs: dict[str, NDArray[Any]] = {"obs": self.obs, **self.images}
        inputs |= {f"{key}_in": part for key, part in before.items()}
        outputs: dict[str, NDArray[Any]] = {"actions": self._actions}
        outputs |= {f"{key}_out": part for key, part in after.items()}
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding


def _open(content: bytes, source: str) -> Any:
    """A session of ONNX Runtime. From bytes: a model may then name no file beside it."""
    try:
        import onnxruntime  # noqa: PLC0415  (so that its absence is one line)
    except ImportError:
        raise PolicyError(
            "ONNX Runtime is not installed: pip install onnxruntime (or vand-robot[export])"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # more cost more than they give
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # noqa: BLE001  (its errors have no common base)
        raise PolicyError(f"{source}: damaged or no ONNX model: {gist(error)}") from None


def _read(path: Path) -> bytes:
    """The bytes of a regular file of a sensible size."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise PolicyUsageError(f"{path}: expected a file, an exported policy")
        limit = _limit_bytes()
        if facts.st_size > limit:
            raise PolicyError(f"{path}: expected at most {limit} bytes, got {facts.st_size}")
        return path.read_bytes()
    except FileNotFoundError:
        raise PolicyUsageError(f"no policy: {path} does not exist") from None
    except OSError as error:
        raise PolicyError(f"cannot read {path}: {error.strerror or error}") from None


def _limit_bytes() -> int:
    text = os.environ.get("VAND_MAX_BYTES", "").strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text)):
        raise PolicyUsageError(
            f"VAND_MAX_BYTES: expected a positive number of bytes, got {text!r:.60}"
        )
    return int(text) if text else DEFAULT_BYTES
