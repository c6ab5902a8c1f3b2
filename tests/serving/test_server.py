"""The policy server over real sockets: memories kept apart, garbage answered in one line."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import urllib.request
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.helpers.exports import SEEN, make_checkpoint
from vand_robot.export.actor import actor_maker
from vand_robot.runtime import PolicyError, PolicyUsageError, RemotePolicy
from vand_robot.runtime.wire import pack, unpack
from vand_robot.serving.server import PolicyServer

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(make_actor):
    """A server in a thread; gives its address."""
    started, address = threading.Event(), []
    server = PolicyServer(make_actor, port=0)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def ready(where: str) -> None:
        address.append(where)
        started.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(server.run(ready, stop),))
    thread.start()
    try:
        assert started.wait(10)
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A run's policy, its folder, and the address of a server of it."""
    folder = tmp_path_factory.mktemp("served") / "best"
    policy = make_checkpoint(folder)
    with serving(actor_maker(folder)) as address:
        yield policy, folder, address


def seen(rng: np.random.Generator) -> dict[str, np.ndarray]:
    sizes = {key: size for key, size in SEEN.items() if key != "instruction"}
    return {key: rng.normal(size=size).astype(np.float32) for key, size in sizes.items()}


def expected(policy, observations, instruction: str) -> list[np.ndarray]:
    code, state, actions = np.float32([instruction == "stow-cube", instruction == "wipe"]), None, []
    for observation in observations:
        action, state = policy.act({**observation, "instruction": code}, state)
        actions.append(action)
    return actions


def test_many_clients_at_once_have_memories_of_their_own(served):
    policy, _, address = served

    def episode(seed: int) -> float:
        rng = np.random.default_rng(seed)
        client, worst = RemotePolicy(address), 0.0
        for instruction in ("wipe", "stow-cube"):
            observations = [seen(rng) for _ in range(15)]
            client.reset(instruction)
            for observation, right in zip(
                observations, expected(policy, observations, instruction), strict=True
            ):
                worst = max(worst, float(np.abs(client.act(observation) - right).max()))
        client.close()
        return worst

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(episode, range(8))) < 1e-6


class _Waits:
    """A policy that takes its time where the observation says so."""

    def __init__(self, actor) -> None:
        self._actor = actor
        self.interface = actor.interface

    def reset(self, instruction=None):
        self._actor.reset(instruction)

    def instruct(self, instruction):
        self._actor.instruct(instruction)

    def act(self, observation):
        if "wait" in observation:
            assert GATE.wait(20)
        return self._actor.act(observation)


GATE = threading.Event()


def test_a_client_that_is_served_slowly_blocks_no_other(served):
    make = actor_maker(served[1])
    GATE.clear()
    with serving(lambda: _Waits(make())) as address, ThreadPoolExecutor(1) as pool:
        slow, quick = RemotePolicy(address, 20), RemotePolicy(address)
        slow.reset("wipe")
        quick.reset("wipe")
        rng = np.random.default_rng(0)
        waiting = pool.submit(slow.act, {**seen(rng), "wait": 1})
        for _ in range(5):
            quick.act(seen(rng))
        assert not waiting.done()
        GATE.set()
        assert waiting.result().shape == (10,)


def test_the_metadata_comes_first_and_the_prompt_is_text_in_the_observation(served):
    policy, _, address = served
    rng = np.random.default_rng(3)
    observations = [seen(rng) for _ in range(4)]
    right = expected(policy, observations, "wipe")
    with connect(address) as socket:
        metadata = unpack(socket.recv())
        assert metadata["rate_hz"] == 10
        assert metadata["observations"] == [[key, size] for key, size in SEEN.items()]
        # the first with the prompt; later ones keep it; lists do in place of arrays
        for i, observation in enumerate(observations):
            message = {**observation, **({} if i else {"instruction": "wipe"})}
            message["ee_pos"] = [float(x) for x in message["ee_pos"]]
            socket.send(pack(message))
            answer = unpack(socket.recv())
            np.testing.assert_allclose(answer["actions"], right[i][None], atol=1e-6)
            assert answer["server_timing"]["infer_ms"] > 0
        socket.send(pack({**observations[0], "reset": True}))  # and the instruction stays
        np.testing.assert_allclose(unpack(socket.recv())["actions"], right[:1], atol=1e-6)


def test_what_is_malformed_is_one_line_and_the_connection_goes_on(served):
    address = served[2]
    array = {b"__ndarray__": True, b"data": b"123", b"dtype": "<f4", b"shape": [3]}
    objects = {b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [0]}
    with connect(address) as socket:
        socket.recv()
        for content, line in (
            ("hello", "got text"),
            (b"\xc1", "not a message"),
            (pack([1, 2]), "expected a mapping of observations"),
            (msgpack.packb({"ee_pos": array}), "not a message"),
            (msgpack.packb({"ee_pos": objects}), "not a message"),
            (pack({"prompt": "wip"}), "did you mean 'wipe'"),
            (pack({"prompt": "wipe"}), "'ee_pos' is missing"),
            (pack({**seen(np.random.default_rng(0)), "ee_pos": np.zeros(4)}), "expected shape"),
            (pack({**seen(np.random.default_rng(0)), "ee_pos": [0, 0, np.nan]}), "not finite"),
            (pack({**seen(np.random.default_rng(0)), "ee_pos": ["a", "b", "c"]}), "3 numbers"),
        ):
            socket.send(content)
            answer = socket.recv()
            assert isinstance(answer, str), line
            assert line in answer
            assert "\n" not in answer
        socket.send(pack({**seen(np.random.default_rng(0)), "prompt": "wipe"}))
        assert unpack(socket.recv())["actions"].shape == (1, 10)


def test_a_message_that_is_too_large_and_a_page_in_a_browser_are_refused(served):
    address = served[2]
    with connect(address, max_size=None) as socket:
        socket.recv()
        socket.send(bytes((1 << 26) + 1))
        with pytest.raises(ConnectionClosed, match="1009"):
            socket.recv()
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin="http://elsewhere.example")
    health = address.replace("ws", "http") + "/healthz"
    assert urllib.request.urlopen(health, timeout=5).read() == b"OK\n"


def test_clients_say_in_one_line_what_is_wrong(served):
    client = RemotePolicy(served[2])
    with pytest.raises(PolicyUsageError, match="did you mean 'wipe'"):
        client.reset("wip")
    client.reset("wipe")
    with pytest.raises(PolicyError, match="'ee_pos' is missing"):
        client.act({})
    with pytest.raises(PolicyError, match="cannot be sent"):
        client.act({"ee_pos": object()})
    with pytest.raises(PolicyError, match=r"no server at ws://127.0.0.1:1"):
        RemotePolicy("127.0.0.1:1")
    with pytest.raises(PolicyUsageError, match="expected ws://"):
        RemotePolicy("http://127.0.0.1:1")


def test_a_port_that_is_taken_is_one_line(served, fails):
    port = served[2].rpartition(":")[2]
    code, line = fails("serve", served[1], "--port", port)
    assert code == 1
    assert f"cannot serve at 127.0.0.1:{port}" in line
    code, line = fails("serve", served[1], "--host", "\udcff", "--port", 0)
    assert code == 1
    assert "cannot serve at" in line


def test_a_server_that_dies_is_one_line_to_its_clients(served):
    with serving(actor_maker(served[1])) as address:
        client = RemotePolicy(address)
        client.reset("wipe")
        client.act(seen(np.random.default_rng(0)))
    with pytest.raises(PolicyError, match="the server has gone"):
        client.act(seen(np.random.default_rng(0)))


OPENPI = """
import json, sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
client = WebsocketClientPolicy(host="127.0.0.1", port=int(sys.argv[1]))
assert client.get_server_metadata()["robot"] == "vander"
actions = []
for _ in range(3):
    seen = {"ee_pos": np.ones(3, np.float32), "cube_rel": np.ones(3), "bin_rel": np.zeros(3)}
    actions.append(client.infer({**seen, "prompt": "wipe"})["actions"].tolist())
print(json.dumps(actions))
"""


@pytest.mark.slow
def test_the_client_of_openpi_talks_to_the_server(served, tmp_path: Path):
    # an environment of its own: the package pins numpy below 2
    venv.create(tmp_path / "openpi", with_pip=True)
    python = tmp_path / "openpi" / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "-q", "openpi-client", "typing_extensions"]
    subprocess.run(install, check=True, env=clean)
    program = [python, "-c", OPENPI, served[2].rpartition(":")[2]]
    answer = subprocess.run(
        program, capture_output=True, text=True, env=clean, check=False, cwd=tmp_path
    )
    assert answer.returncode == 0, answer.stderr
    row = {"ee_pos": np.ones(3), "cube_rel": np.ones(3), "bin_rel": np.zeros(3)}
    right = expected(served[0], [row] * 3, "wipe")
    np.testing.assert_allclose(np.array(json.loads(answer.stdout))[:, 0], right, atol=1e-6)


def test_the_command_serves_until_it_is_told_to_end(served):
    program = [sys.executable, "-m", "vand_robot", "serve", str(served[1]), "--port", "0"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split()[0].rstrip(":")
        client = RemotePolicy(address)
        client.reset("wipe")
        assert client.act(seen(np.random.default_rng(0))).shape == (10,)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_messages_of_every_kind_of_number_come_back_as_they_were():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3)).astype(kind) for kind in ("f4", "f8", "i8", "u1", "?")]
    message = {"arrays": arrays, "one": np.float32(2.5), "none": None, "text": "ä"}
    back = unpack(pack(message))
    for ours, theirs in zip(arrays, back["arrays"], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert back["one"] == np.float32(2.5)
    assert (back["none"], back["text"]) == (None, "ä")
    with pytest.raises(TypeError, match="cannot send"):
        pack({"x": np.array([object()])})
