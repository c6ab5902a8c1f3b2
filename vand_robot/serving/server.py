"""A policy for many clients at once, each with a memory of its own.

The protocol is that of openpi's policy server: the server says first what it is, then answers every
observation with actions. A text in place of bytes is an error, in one line. `GET /healthz` answers.
"""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import numpy as np

from vand_envs.errors import UsageError, VandError
from vand_robot.runtime.errors import PolicyError, gist
from vand_robot.runtime.interface import INSTRUCTION, Interface
from vand_robot.runtime.policy import Instructable
from vand_robot.runtime.remote import INTERFACE, PROMPT, RESET
from vand_robot.runtime.wire import MAX_MESSAGE_BYTES, pack, unpack

LOOPBACK = "127.0.0.1"
"""Where the server listens unless it is told otherwise: no other machine can reach it."""
PORT = 8000
"""Port of openpi's servers."""
MAX_CLIENTS = 256
"""Clients at once; one more is refused."""
CONTROL = "__ctrl__"
"""Key of messages that say where episodes begin and end, of some versions of openpi's client."""


class Connection:
    """The conversation with one client: bytes in, bytes or a text out.

    Args:
        actor: A policy with a memory of its own.
    """

    def __init__(self, actor: Instructable) -> None:
        self._actor = actor
        self._told: str | None = None
        actor.reset()

    def metadata(self) -> bytes:
        """The first message: what the server is."""
        interface = self._actor.interface
        text = interface.to_json()
        return pack({**json.loads(text), INTERFACE: text})

    def answer(self, content: bytes | str) -> bytes | str:
        """The answer to a message: actions, or a text that says in one line what is wrong."""
        began = time.perf_counter()
        try:
            if isinstance(content, str):
                raise PolicyError("expected msgpack in a binary message, got text")
            message = unpack(content)
            if not isinstance(message, dict):
                raise PolicyError(f"expected a mapping of observations, got {message!r:.60}")
            if CONTROL in message:
                return self._control(message)
            actions = self._act(message)
        except PolicyError as error:
            return " ".join(str(error).split())[:1000]
        spent_ms = 1e3 * (time.perf_counter() - began)
        # (1, A): a chunk of one action, for clients that expect chunks
        return pack({"actions": actions[None], "server_timing": {"infer_ms": spent_ms}})

    def _act(self, message: dict[Any, Any]) -> np.ndarray[Any, Any]:
        seen = {_text(key): value for key, value in message.items()}
        asked, prompt = seen.pop(RESET, False), seen.pop(PROMPT, None)
        if prompt is None and isinstance(seen.get(INSTRUCTION), str | bytes):
            prompt = seen.pop(INSTRUCTION)
        told = None if prompt is None else _text(prompt)
        if told is not None:
            self._actor.interface.code(told)  # before anything is forgotten
        if asked:
            kept = None if INSTRUCTION in seen else self._told
            self._told = kept if told is None else told
            self._actor.reset(self._told)
        elif told is not None and told != self._told:
            self._actor.instruct(told)  # within an episode: the memory goes on
            self._told = told
        return self._actor.act(seen)

    def _control(self, message: dict[Any, Any]) -> bytes:
        begins = message[CONTROL] == "episode_start"
        if begins or message[CONTROL] == "episode_end":
            self._actor.reset(self._told)
        return pack({"__ack__": message[CONTROL]})


def _text(value: object) -> str:
    """A key or an instruction; msgpack of old writes texts as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise PolicyError(f"expected text, got {value!r:.60}")


class PolicyServer:
    """Serves a policy.

    Args:
        make_actor: Makes a policy with a memory of its own, for each client; weights may be shared.
        host: Where to listen.
        port: The port; 0 for any that is free.

    Raises:
        UsageError: No such port.
    """

    def __init__(
        self, make_actor: Callable[[], Instructable], host: str = LOOPBACK, port: int = PORT
    ) -> None:
        if not 0 <= port < 65536:
            raise UsageError(f"port: expected 0 to 65535, got {port}")
        self._make_actor = make_actor
        self._host, self._port = host, port
        self._clients = 0
        self.interface: Interface = make_actor().interface
        """Of the policy that is served."""

    def serve_forever(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Args:
            ready: Called with the address once clients can connect.

        Raises:
            VandError: The port is taken, or websockets is not installed.
        """
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self.run(ready))

    async def run(self, ready: Callable[[str], None], stop: "asyncio.Event | None" = None) -> None:
        """Serve until `stop` is set, SIGTERM or Ctrl-C."""
        try:
            from websockets.asyncio.server import serve  # noqa: PLC0415  (an extra)
        except ImportError:
            raise VandError("websockets is not installed: pip install vand-robot[serve]") from None
        ended = stop or asyncio.Event()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, ended.set)
        try:
            server = await serve(
                self._converse,
                self._host,
                self._port,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                process_request=_health,
                origins=[None],  # no page in a browser may connect
            )
        except (OSError, UnicodeError) as error:  # of names that no host can have
            where = f"{self._host}:{self._port}"
            reason = getattr(error, "strerror", None) or error
            raise VandError(f"cannot serve at {where}: {reason}") from None
        async with server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            ready(f"ws://{host}:{port}")
            await ended.wait()

    async def _converse(self, socket: Any) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

        if self._clients >= MAX_CLIENTS:
            await socket.close(1013, "too many clients")
            return
        self._clients += 1
        try:
            connection = Connection(self._make_actor())
            await socket.send(connection.metadata())
            async for content in socket:
                # in a thread: a client's images or slow network keep nobody else waiting
                answer = await asyncio.to_thread(connection.answer, content)
                await socket.send(answer)
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001  (one client's trouble is not the others')
            with contextlib.suppress(Exception):
                await socket.close(1011, gist(error)[:100])
        finally:
            self._clients -= 1


def _health(connection: Any, request: Any) -> Any:
    """Answer `GET /healthz`; everything else goes on."""
    if request.path == "/healthz":
        return connection.respond(HTTPStatus.OK, "OK\n")
    return None
