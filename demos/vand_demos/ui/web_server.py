"""A viser server that only its own page may talk to.

viser answers whoever reaches its port. A page of any web site can try every port of this machine,
so each request must say that it comes from the page that was served here: its `Origin` is the
`Host` that it asks for. And that host must be an address or a name of this machine, or else a name
that somebody points at it (DNS rebinding) would be an origin like any other.
"""

import contextlib
import io
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import viser
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from vand_demos.ui import LOOPBACK
from vand_envs.errors import UsageError, VandError

Channel = Callable[[ServerConnection], Awaitable[None]]
"""Talks to the page over a web socket of its own, on the server's thread, until it returns."""

CLOSE_TIMEOUT_S = 1.0
"""How long a browser that hangs may delay the end of a session [s]."""

_one_at_a_time = Lock()


@contextlib.contextmanager
def web_server(
    host: str = LOOPBACK,
    port: int = 0,
    *,
    overlay: str = "",
    channels: Mapping[str, Channel] | None = None,
) -> Iterator[viser.ViserServer]:
    """Serve a page.

    Args:
        host: Address or name to listen on.
        port: Port; 0 takes a free one, see `server.get_port()`.
        overlay: HTML that is added to viser's page; its scripts run.
        channels: Path -> who answers a web socket of that path, beside viser's own.

    Yields:
        The server. It says nothing on the terminal, and stops at the end of the block.

    Raises:
        UsageError: Nothing can listen there: the port is taken, or the host is not this machine.
    """
    try:
        socket.create_server((host, port)).close()  # viser would try other ports, without end
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error}") from error
    with _through(_Gate(host, overlay, channels or {})), _silence():
        server = viser.ViserServer(host=host, port=port, verbose=False)
    try:
        yield server
    finally:
        with _silence():  # it announces its end
            server.stop()


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    return contextlib.redirect_stdout(io.StringIO())


class _Gate:
    """Stands before viser: refuses strangers, extends the page, and serves further channels."""

    def __init__(self, host: str, overlay: str, channels: Mapping[str, Channel]) -> None:
        self._host, self._overlay, self._channels = host, overlay.encode(), channels
        self.used = False

    def serve(self, handler: Channel, host: str, port: int, **options: Any) -> Any:
        """Take the place of `websockets.asyncio.server.serve`."""
        self.used = True
        answer = options.pop("process_request")
        options["logger"] = _logger
        options["close_timeout"] = CLOSE_TIMEOUT_S

        def process_request(connection: ServerConnection, request: Request) -> Response | None:
            if (reason := refusal(request, self._host)) is not None:
                return connection.respond(HTTPStatus.FORBIDDEN, f"{reason}\n")
            is_page = request.path.partition("?")[0] in ("/", "/index.html")
            if is_page and "Accept-Encoding" in request.headers:
                del request.headers["Accept-Encoding"]  # nothing can be added to gzip
            response: Response | None = answer(connection, request)
            return self._extended(response) if response is not None and is_page else response

        async def handle(connection: ServerConnection) -> None:
            path = connection.request.path if connection.request else ""
            await self._channels.get(path, handler)(connection)

        return _serve(handle, host, port, process_request=process_request, **options)

    def _extended(self, response: Response) -> Response:
        head, end, tail = response.body.rpartition(b"</body>")
        body = head + self._overlay + end + tail
        headers = Headers(response.headers)
        del headers["Content-Length"]
        headers["Content-Length"] = str(len(body))
        # Nobody may show the page inside another one, and have a click there drive the robot.
        headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        return Response(response.status_code, response.reason_phrase, headers, body)


_serve = websockets.asyncio.server.serve

_logger = logging.getLogger(__name__)
# Browsers open connections that they never use; no reason to show a person a stack trace.
_logger.addFilter(lambda record: record.getMessage() != "opening handshake failed")


@contextlib.contextmanager
def _through(gate: _Gate) -> Iterator[None]:
    """Let a gate stand before the servers that viser starts inside the block.

    viser has no setting for it: it is given another function to listen with, for that moment.
    """
    with _one_at_a_time:
        websockets.asyncio.server.serve = gate.serve  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            websockets.asyncio.server.serve = _serve  # type: ignore[misc]
    if not gate.used:
        raise VandError(
            f"viser {viser.__version__} serves its page in a way that is not known here"
        )


def refusal(request: Request, host: str) -> str | None:
    """Why a request is not answered, or None where it is.

    Args:
        request: What came, for the page or for a web socket.
        host: Name or address that the server listens on.
    """
    asked = request.headers.get("Host", "")
    if not _is_own(urlsplit(f"//{asked}").hostname or "", host):
        return f"{asked!r} is not a name of this server"
    origin = request.headers.get("Origin")
    if origin is None:
        # A browser names the origin of every web socket; a page itself has none yet.
        return "expected an Origin" if "Upgrade" in request.headers else None
    scheme, _, rest = origin.partition("://")
    if scheme not in ("http", "https") or rest != asked:
        return f"pages of {origin!r} may not talk to {asked!r}"
    return None


def _is_own(name: str, host: str) -> bool:
    """Whether nobody else can have a page of that name: an address, or a name of this machine."""
    if name in ("localhost", host.lower(), socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def invitation(server: viser.ViserServer, host: str) -> str:
    """Text that tells a person how to open the page: its address, and the way there by ssh."""
    port = server.get_port()
    if host != LOOPBACK:
        name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host  # noqa: S104
        return (
            f"open http://{name}:{port}\n"
            f"warning: whoever can reach {name} can open it; without --host only this machine can"
        )
    return (
        f"open http://{host}:{port}\n"
        f"from another machine: ssh -L {port}:{host}:{port} {socket.gethostname()},"
        f" then open the same address there"
    )
