"""A policy on a server, with the calls of a local one. It needs msgpack and websockets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import PolicyError, PolicyUsageError, gist
from vand_robot.runtime.interface import INSTRUCTION, Interface
from vand_robot.runtime.policy import Observation
from vand_robot.runtime.wire import MAX_MESSAGE_BYTES, pack, unpack

RESET = "reset"
"""Key of an observation that asks for an empty memory before it is answered."""
PROMPT = "prompt"
"""The instruction as text, as openpi's clients call it."""
INTERFACE = "vand_robot"
"""Key of the interface, as JSON, in our servers' metadata."""


class RemotePolicy:
    """A policy that a server holds: `vand-robot serve`, or any that speaks openpi's protocol.

    Args:
        address: `ws://HOST:PORT`, or `HOST:PORT`.
        timeout_s: How long to wait for the connection, and for every answer [s].

    Raises:
        PolicyError: Nobody answers, or not in this protocol; or a package is missing.
    """

    def __init__(self, address: str, timeout_s: float = 10.0) -> None:
        self.address = address if "://" in address else f"ws://{address}"
        if not self.address.startswith(("ws://", "wss://")):
            raise PolicyUsageError(f"server: expected ws://HOST:PORT, got {address!r:.60}")
        self._timeout_s = timeout_s
        self._instruction: str | None = None
        self._reset = True
        self._socket = _connect(self.address, timeout_s)
        metadata = self._receive()
        if not isinstance(metadata, dict):
            raise PolicyError(f"{self.address}: expected metadata first, got {metadata!r:.60}")
        self.metadata: dict[str, Any] = metadata
        """What the server says of itself."""

    @property
    def interface(self) -> Interface:
        """Observations, actions, rate and instructions.

        Raises:
            PolicyError: The server is another's, and does not say.
        """
        text = self.metadata.get(INTERFACE)
        if not isinstance(text, str):
            raise PolicyError(f"{self.address}: the server does not tell its interface")
        return Interface.from_json(text, self.address)

    def reset(self, instruction: str | None = None) -> None:
        """Begin an episode: the next observation asks the server for an empty memory."""
        if instruction is not None and INTERFACE in self.metadata:
            self.interface.code(instruction)
        self._instruction, self._reset = instruction, True

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Choose the next action (A,), the first of a chunk where the server sends chunks."""
        actions = self.infer(observation)["actions"]
        return np.asarray(actions[0] if actions.ndim == 2 else actions, np.float32)

    def infer(self, observation: Observation) -> dict[str, Any]:
        """The server's whole answer; `actions` are (A,), or a chunk (H, A).

        Raises:
            PolicyError: The server says what is wrong, is silent, or has gone.
        """
        message: dict[str, Any] = dict(observation)
        if self._instruction is not None:
            message.pop(INSTRUCTION, None)
            message[PROMPT] = self._instruction
        if self._reset:
            message[RESET] = True
        try:
            self._socket.send(pack(message))
        except TypeError as error:
            raise PolicyError(f"an observation cannot be sent: {gist(error)}") from None
        except Exception as error:  # noqa: BLE001  (its errors have no common base)
            raise PolicyError(f"{self.address}: the server has gone: {gist(error)}") from None
        answer = self._receive()
        self._reset = False
        if not isinstance(answer, dict) or not isinstance(answer.get("actions"), np.ndarray):
            raise PolicyError(f"{self.address}: expected actions, got {answer!r:.60}")
        if answer["actions"].ndim not in (1, 2) or not answer["actions"].size:
            shape = answer["actions"].shape
            raise PolicyError(f"{self.address}: expected actions (A,) or (H, A), got {shape}")
        return answer

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _receive(self) -> Any:
        try:
            content = self._socket.recv(timeout=self._timeout_s)
        except TimeoutError:
            raise PolicyError(f"{self.address}: no answer within {self._timeout_s:g} s") from None
        except Exception as error:  # noqa: BLE001  (its errors have no common base)
            raise PolicyError(f"{self.address}: the server has gone: {gist(error)}") from None
        if isinstance(content, str):  # in this protocol, a text is an error
            raise PolicyError(f"{self.address}: {' '.join(content.split())[-300:]}")
        return unpack(content)


def _connect(address: str, timeout_s: float) -> Any:
    try:
        from websockets.sync.client import connect  # noqa: PLC0415  (an extra)
    except ImportError:
        raise PolicyError("websockets is not installed: pip install vand-robot[serve]") from None
    try:
        return connect(
            address,
            open_timeout=timeout_s,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            proxy=None,
        )
    except Exception as error:  # noqa: BLE001  (its errors have no common base)
        raise PolicyError(f"no server at {address}: {gist(error)}") from None
