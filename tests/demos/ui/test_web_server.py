"""Whom the server of the pages talks to, and what it answers to strange requests."""

import contextlib
import socket
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.pages import PROTOCOL, get, line, number
from vand_demos.ui.markdown import plain
from vand_demos.ui.web_server import web_server
from vand_envs.errors import UsageError


@pytest.fixture(scope="module")
def server():
    async def greet(connection, page):
        await connection.send(f"welcome, {page}")

    with web_server(overlay="<p id=added></p>", channels={"pilot": greet}) as server:
        yield server


@pytest.mark.parametrize("channel", ["", "/pilot"])
def test_web_sockets_are_for_the_servers_own_page(server, channel):
    for asked, named, allowed in (
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}", True),
        ("localhost:9000", "http://localhost:9000", True),  # through ssh
        ("127.0.0.1:{port}", None, False),
        ("127.0.0.1:{port}", "null", False),
        ("127.0.0.1:{port}", "http://127.0.0.1:1", False),
        ("127.0.0.1:{port}", "http://evil.example", False),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example", False),
        ("evil.example:{port}", "http://evil.example:{port}", False),  # DNS rebinding
    ):
        host, origin = asked.format(port=server.port), named and named.format(port=server.port)
        path = f"/{server.token}/{number()}{channel}"
        with contextlib.ExitStack() as stack:
            if not allowed:
                refused = stack.enter_context(pytest.raises(InvalidStatus))
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            stack.enter_context(
                connect(f"ws://{host}{path}", sock=stream, origin=origin, subprotocols=[PROTOCOL])
            )
        assert allowed or refused.value.response.status_code == 403


def test_who_does_not_know_the_token_gets_nothing(server):
    origin = f"http://127.0.0.1:{server.port}"
    for path in ("/", "/index.html", "/0/", f"/{server.token[:-1]}/", "/pilot"):
        status, _, content = get(origin + path)
        assert status == 404
        assert b"viser" not in content
    for wrong in (f"{origin}/x/", f"{origin}/{server.token}x/"):
        for channel in ("", "pilot"):
            with pytest.raises(InvalidStatus, match="404"):
                line(wrong, number(), channel)


def test_each_page_has_a_number_that_its_channels_are_told(server):
    def opened():
        status, headers, content = get(server.address)
        assert status == 200
        assert b"<p id=added></p></body>" in content
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["Referrer-Policy"] == "no-referrer"

    opened()
    page = number()
    with line(server.address, page, "pilot") as pilot:
        assert pilot.recv(timeout=10) == f"welcome, {page}"
    with line(server.address, page) as viser:
        viser.recv(timeout=10)
        # A second page of that number, such as a copy of the tab, is sent on to another number.
        request = f"GET /{server.token}/{page}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        answer = exchange(server.port, request)
        assert answer.startswith(b"HTTP/1.1 302")
        assert page.encode() not in answer


def exchange(port, request):
    """What is answered to bytes on the line."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(request.encode("latin-1"))
        answer = b""
        while more := stream.recv(65536):
            answer += more
            if b"\r\n\r\n" in answer:
                break
    return answer


def test_a_strange_request_is_refused_and_not_a_fault_of_the_server(server, capfd):
    token, port = server.token, server.port
    own = f"Host: 127.0.0.1:{port}\r\n"
    web_socket = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    for path, headers, status in (
        (f"/{token}/", "Host: [::1\r\n", 400),
        (f"/{token}/", own + own, 400),
        (f"/{token}/", "", 400),
        (f"/{token}/", own + "Origin: http://a\r\nOrigin: http://b\r\n", 400),
        (f"/{token}/", "Host: evil.example\r\n", 403),
        (f"/{token}/", "Host: 127.0.0.1:99999999\r\n", 302),
        (f"/{token}/" + 300 * "a", own, 404),
        ("/" + 300 * "a", own, 404),
        (f"/{token}/%00/", own, 404),
        (f"/{token}/../../etc/passwd", own, 404),
        (f"/{token}/{number()}/pilot", own, 404),
        (
            f"/{token}/{number()}/other",
            own + web_socket + f"Origin: http://127.0.0.1:{port}\r\n",
            404,
        ),
        (f"/{token}/{number()}", own + web_socket + f"Origin: http://127.0.0.1:{port}\r\n", 400),
    ):
        answer = exchange(port, f"GET {path} HTTP/1.1\r\n{headers}\r\n")
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (path, headers, answer[:80])
    assert capfd.readouterr() == ("", "")


def test_another_version_of_the_page_is_refused_without_a_word(server, capfd):
    origin = f"http://127.0.0.1:{server.port}"
    with pytest.raises(InvalidStatus, match="400"):
        connect(
            f"ws://127.0.0.1:{server.port}/{server.token}/{number()}",
            origin=origin,
            subprotocols=["viser-v0.0.1"],
        )
    assert capfd.readouterr() == ("", "")


def test_the_server_is_on_loopback_alone_unless_told_otherwise(server):
    assert server.address.startswith(f"http://127.0.0.1:{server.port}/")
    assert f"open {server.address}\n" in server.invitation
    assert f"ssh -L {server.port}:127.0.0.1:{server.port}" in server.invitation
    with Path("/proc/net/tcp").open(encoding="ascii") as table:
        listening = f":{server.port:04X} 00000000:0000"
        addresses = [line.split()[1] for line in table if listening in line]
    assert addresses == [f"0100007F:{server.port:04X}"]
    with web_server(host="0.0.0.0") as everywhere:
        assert "warning: whoever can reach" in everywhere.invitation
        assert everywhere.token != server.token


def test_a_taken_port_and_a_foreign_host_are_usage_errors():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"),
            web_server(port=port),
        ):
            pass
    for host in ("192.0.2.1", "\udcff", "a" * 70):
        with pytest.raises(UsageError, match=f"cannot listen on {host}:0"), web_server(host):
            pass


def test_text_from_outside_is_no_markup():
    assert plain("demo_1 of run 2") == "demo_1 of run 2"
    shown = plain("# <b>{1}</b>\n[x](y) `z` \\ é")
    assert not set(shown) & set("<>{}[]()`\\\n*")
    assert shown.endswith("&#92; &#233;")
