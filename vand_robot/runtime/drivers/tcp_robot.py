"""Template of a driver for a robot behind a socket or a serial line; copy it and fill it in.

It speaks lines of JSON over TCP, and is tested against a server on this machine that does. It has
not been tried on a robot. For a serial line, replace `socket.create_connection` by
`serial.Serial(port, 115200, timeout=...)` of pyserial, and its `makefile` by the port itself
(untried as well).

    robot -> {"t": 12.30, "ee_pos": [0.1, 0.2, 0.3], "gripper": [0.02]}     as it measures
    robot <- {"action": [0.0, 0.1]}                                         once in a period
    robot <- {"stop": true}                                                 at the end
"""

import json
import socket
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.driver import STAMP
from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.policy import Observation

LONGEST_LINE = 1 << 20
"""Bound of a message [bytes]."""

_NO_MESSAGE = (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError)
"""What reading a line raises that is no message: no JSON, no mapping, no numbers, too deep."""


class Driver:
    """A robot that sends what it measures, and takes actions, as lines of JSON.

    A thread keeps the latest message, so that `observe` never waits for the robot; the loop stops
    by itself where the latest is too old.

    Args:
        address: `HOST:PORT`.
        timeout_s: How long to wait for the connection and the first message [s].
    """

    def __init__(self, address: str = "127.0.0.1:5555", timeout_s: float = 5.0) -> None:
        self.address, self.timeout_s = address, float(timeout_s)
        self._socket: socket.socket | None = None
        self._latest: dict[str, Any] | None = None
        self._first = threading.Event()
        self._broken = ""

    def connect(self, interface: Interface, instruction: str | None) -> None:  # noqa: ARG002  (a robot that must know its task is told here)
        """See `Driver.connect`: here a real driver also homes the robot and checks its gripper.

        Raises:
            PolicyError: Nobody answers at the address.
        """
        host, _, port = self.address.rpartition(":")
        try:
            self._socket = socket.create_connection((host, int(port)), self.timeout_s)
            self._socket.settimeout(self.timeout_s)
        except (OSError, ValueError) as error:
            raise PolicyError(f"no robot at {self.address}: {error}") from None
        threading.Thread(target=self._listen, args=(self._socket,), daemon=True).start()
        if not self._first.wait(self.timeout_s):
            raise PolicyError(f"{self.address}: no observation within {self.timeout_s:g} s")

    def observe(self) -> Observation | None:
        """See `Driver.observe`.

        Raises:
            PolicyError: The connection is broken.
        """
        if self._broken:
            raise PolicyError(f"{self.address}: {self._broken}")
        return self._latest

    def act(self, action: NDArray[np.float32]) -> None:
        """See `Driver.act`."""
        self._send({"action": [float(number) for number in action]})

    def stop(self) -> None:
        """See `Driver.stop`: a robot must also stop by itself where no action comes any more."""
        if self._socket is not None:
            try:
                self._send({"stop": True})
            finally:
                self._socket.close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._socket is None:
            raise PolicyError(f"{self.address}: not connected")
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _listen(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as lines:
                while line := lines.readline(LONGEST_LINE):
                    message = json.loads(line)
                    numbers = {key: np.array(value, np.float32) for key, value in message.items()}
                    self._latest = {**numbers, STAMP: time.monotonic()}
                    self._first.set()
            self._broken = "the robot closed the connection"
        except _NO_MESSAGE as error:
            self._broken = f"not a message of the robot: {error}"
        self._first.set()
