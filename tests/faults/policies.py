"""Policies that are no runs: exported files, clients and servers, and mappings, all damaged."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.faults.damage import VALUES, damage_bytes, damage_json, foreign_text, replace_file
from tests.faults.server import call, command
from tests.faults.sound import Damaged, Sound
from vand_envs.errors import VandError
from vand_robot.export.actor import actor_maker
from vand_robot.export.onnx import export_policy
from vand_robot.runtime import Network, PolicyError
from vand_robot.runtime.command import main as runtime_main
from vand_robot.runtime.interface import METADATA_KEY, REFERENCES_KEY
from vand_robot.runtime.wire import pack
from vand_robot.serving.server import PolicyServer

INTERNAL_ERROR = 1011
"""Code of a connection that a fault of the server closes."""
ANSWER_S = 20.0
"""How long a server of ours may take for one answer [s]."""

_export = threading.Lock()


def exported(sound: Sound) -> Path:
    """The sound run's policy as one file; written once."""
    file = sound.run.parent.parent / "policy.onnx"
    with _export:
        if not file.exists():
            export_policy(sound.run, file)
    return file


# ------------------------------------------------------------------ exported files


def _rename(model: Any, what: str) -> None:
    entries = {"inputs": model.graph.input, "outputs": model.graph.output}[what]
    entries[0].name = "other"


def _state_of(model: Any, layers: int) -> None:
    """Says of the state that it has so many layers, which the graph leaves open."""
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    content = json.loads(entry.value)
    for sizes in content["state"].values():
        sizes[0] = layers
    entry.value = json.dumps(content)


def _large_constant(model: Any) -> None:
    """Adds 400 GB of zeros to the actions."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [10**11])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0))
    last = next(node for node in model.graph.node if "actions" in node.output)
    last.output[:] = ["actions0"]
    model.graph.node.append(helper.make_node("Add", ["actions0", "sum"], ["actions"]))


def _endless(model: Any) -> None:
    """Adds a loop of 2^62 rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["x", "x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]))
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    last = next(node for node in model.graph.node if "actions" in node.output)
    last.output[:] = ["actions0"]
    loop = helper.make_node("Loop", ["rounds", "yes", "actions0"], ["actions"], body=body)
    model.graph.node.append(loop)


def _beside(model: Any) -> None:
    """Says that a weight lies in another file."""
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../etc/passwd"), ("offset", "0"), ("length", "4")):
        weight.external_data.add(key=key, value=value)


def _declare(model: Any) -> None:
    """Says of a weight that it has 10^12 numbers."""
    model.graph.initializer[0].dims[:] = [10**6, 10**6]


def _not_a_number(model: Any) -> None:
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.raw_data = b"\xff" * len(weight.raw_data)


def _props(model: Any, **texts: str) -> None:
    for entry in model.metadata_props:
        if entry.key in texts:
            entry.value = texts[entry.key]


def _drop_props(model: Any) -> None:
    del model.metadata_props[:]


_MODELS: Mapping[str, Callable[[Any], Any]] = {
    "an input renamed": lambda model: _rename(model, "inputs"),
    "an output renamed": lambda model: _rename(model, "outputs"),
    "a state of 10^9 layers": lambda model: _state_of(model, 10**9),
    "a state of 3 layers": lambda model: _state_of(model, 3),
    "a constant of 400 GB": _large_constant,
    "a loop without end": _endless,
    "a weight in another file": _beside,
    "a weight of 10^12 numbers": _declare,
    "weights that are no numbers": _not_a_number,
    "an operator of nobody": lambda model: setattr(model.graph.node[0], "op_type", "Nobody"),
    "another domain": lambda model: setattr(model.graph.node[0], "domain", "x.y"),
    "a new operator set": lambda model: setattr(model.opset_import[0], "version", 999),
    "a node less": lambda model: model.graph.node.pop(),
    "no meta data": _drop_props,
    "no graph": lambda model: model.ClearField("graph"),
    "references of others": lambda model: _props(model, **{REFERENCES_KEY: "{}"}),
    "references that are nested": lambda model: _props(model, **{REFERENCES_KEY: "[" * 100_000}),
    "meta data that is nested": lambda model: _props(model, **{METADATA_KEY: '{"a":' * 100_000}),
    "a type of text": lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 8),
    "a type of double": lambda model: setattr(
        model.graph.input[0].type.tensor_type, "elem_type", 11
    ),
}


def onnx_file(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """An exported policy, its bytes, graph or meta data damaged."""
    file = folder / "policy.onnx"
    file.write_bytes(exported(sound).read_bytes())
    which = int(rng.integers(10))
    if which < 3:
        what = [damage_bytes, replace_file][int(rng.integers(4)) == 3](rng, file)
    else:
        model = onnx.load(str(file), load_external_data=False)
        if which < 6:
            key = (METADATA_KEY, METADATA_KEY, REFERENCES_KEY)[int(rng.integers(3))]
            (entry,) = [entry for entry in model.metadata_props if entry.key == key]
            inner = folder / "meta.json"
            inner.write_text(entry.value)
            ways = [damage_json, damage_json, foreign_text]
            what = ways[int(rng.integers(3))](rng, inner)
            entry.value = inner.read_bytes().decode("utf-8", "replace")
        else:
            what = list(_MODELS)[int(rng.integers(len(_MODELS)))]
            _MODELS[what](model)
        file.write_bytes(model.SerializeToString())
    out = ("--out", str(folder / "evaluation"))
    drive = ("--driver", "simulation", "--steps", "3", "--on-late", "hold")
    drive += ("--instruction", "wipe")
    commands = (
        ("evaluate", str(file), *out, "--episodes", "1", "--task", "wipe", "--jobs", "1"),
        ("deploy", str(file), *drive),
        call("tests.faults.policies:drive", str(file), *drive),
        call("tests.faults.policies:converse", str(file), str(message_file(folder))),
    )
    command = commands[int(rng.integers(len(commands)))]
    return Damaged(f"{what}: {' '.join(command[:2])}", command)


def drive(*arguments: str) -> None:
    """The runtime's own command."""
    runtime_main(arguments)


# ------------------------------------------------------------------ messages to the policy server


def message_file(folder: Path) -> Path:
    """A message that asks for nothing."""
    file = folder / "message"
    file.write_bytes(pack({}))
    return file


def _array(data: Any, dtype: Any, shape: Any) -> dict[bytes, Any]:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


_DTYPES = ("<f4", "|O", "V8", "<U9", "<M8[ns]", "<c8", "", "f4,f4", "i" * 1000, b"\xff", 3, None)
_SHAPES = ([3], [-1], [2**62, 4], [1] * 100, [], "3", [2**63 - 1], [2.5], None, [0, 10**18], [[3]])
_DATA = (bytes(12), b"", bytes(1 << 20), "text", 3, None, [1, 2, 3], {b"__ndarray__": True})
_PROMPTS = ("wipe", "", "\ud800", "$^$", "x" * 10**6, 3, [], {}, b"wipe", b"\xff", None, True)


def message(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A client's message: msgpack of strange values, or bytes that are none."""
    network = Network.load(exported(sound))
    sizes = network.interface.observations
    content: dict[Any, Any] = {key: np.zeros(size, np.float32) for key, size in sizes.items()}
    content.pop("instruction", None)
    content["prompt"] = "wipe"
    key = list(content)[int(rng.integers(len(content)))]
    which = int(rng.integers(9))
    if which < 2:
        parts = [_pick(rng, _DATA), _pick(rng, _DTYPES), _pick(rng, _SHAPES)]
        content[key], what = _array(*parts), f"{key}: an array of {parts[1:]!r:.60}"
    elif which < 4:
        value = _pick(rng, [v for v in VALUES if not isinstance(v, int) or abs(v) < 2**63])
        content[key], what = value, f"{key}: {value!r:.40}"
    elif which < 5:
        value = _pick(rng, _PROMPTS)
        content[_pick(rng, ["prompt", "instruction", "reset", "__ctrl__"])] = value
        what = f"prompt: {value!r:.40}"
    elif which < 6:
        number = _pick(rng, [np.nan, np.inf, 1e38, -1e38, 3e38])
        content[key], what = np.full(sizes.get(key, 1), number, np.float32), f"{key}: {number}"
    elif which < 7:
        name = _pick(rng, [b"\xff", 3, None, True, "", "x" * 10**5, 2.5, "\ud800"])
        content[name], what = content.pop(key), f"key {name!r:.40}"
    else:
        what = ""
    packed = msgpack.packb(content, default=_plain, unicode_errors="surrogatepass")
    if not what:
        packed, what = _other_bytes(rng, packed)
    file = folder / "message"
    file.write_bytes(packed)
    policy = exported(sound) if rng.integers(2) else sound.run
    return Damaged(what, call("tests.faults.policies:converse", str(policy), str(file)))


def _plain(value: Any) -> Any:
    return _array(value.tobytes(), value.dtype.str, value.shape)


def _other_bytes(rng: np.random.Generator, packed: bytes) -> tuple[bytes, str]:
    """Bytes in place of a message, and words for them."""
    cut = int(rng.integers(len(packed)))
    choices: list[tuple[bytes, str]] = [
        (packed[:cut], "cut"),
        (packed + packed, "twice"),
        (rng.bytes(2000), "noise"),
        (b"", "empty"),
        (b"\x91" * 100_000, "deep lists"),
        (b"\x81\xa1a" * 50_000, "deep mappings"),
        (b"\xdd\xff\xff\xff\xff", "a list of 2^32"),
        (b"\xdf\xff\xff\xff\xff", "a mapping of 2^32"),
        (b"\xc6\xff\xff\xff\xff", "4 GB of bytes"),
        (b"\xc9\xff\xff\xff\xff\x05", "4 GB of an extension"),
        (b"\xc7\x0c\xff" + b"\xff" * 12, "a time"),
        (msgpack.packb([None] * 5000), "a long list"),
        (msgpack.packb({str(i): i for i in range(5000)}), "a long mapping"),
        (b"\x80", "nothing in it"),
        (b"\x01", "a number"),
        (bytes(70_000_000), "70 MB"),
    ]
    return choices[int(rng.integers(len(choices)))]


def converse(policy: str, message: str) -> int:
    """Serves a policy on loopback and sends it a message; a second client must be answered after.

    Raises:
        RuntimeError: The server does not answer a sound client any more.
    """
    try:
        make = actor_maker(Path(policy))
    except (PolicyError, VandError) as error:  # as `vand-robot serve` says it
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    with _serving(PolicyServer(make, port=0)) as address:
        content = Path(message).read_bytes()
        _send(address, content)
        sizes = make().interface.observations
        sound = {key: np.zeros(n, np.float32) for key, n in sizes.items() if key != "instruction"}
        answer = _send(address, pack({**sound, "prompt": "wipe", "reset": True}))
        if answer is None:
            raise RuntimeError(f"after {content!r:.40}: {answer!r:.80}")
    return 0


def _send(address: str, content: bytes) -> bytes | str | None:
    """The answer to one message; None where the connection is closed."""
    with connect(address, compression=None, max_size=None) as client:
        client.recv(timeout=ANSWER_S)
        try:
            client.send(content)
            return client.recv(timeout=ANSWER_S)
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == INTERNAL_ERROR:
                raise RuntimeError(f"to {content!r:.40} the server failed: {closed}") from None
            return None


@contextmanager
def _serving(server: PolicyServer) -> Iterator[str]:
    started, address = threading.Event(), []
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def ready(where: str) -> None:
        address.append(where)
        started.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(server.run(ready, stop),))
    thread.start()
    if not started.wait(ANSWER_S):
        raise RuntimeError("the server does not start")
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


# ------------------------------------------------------------------ answers of others' servers


def _answers() -> dict[str, Callable[[], bytes | str]]:
    actions = np.zeros(10, np.float32)
    return {
        "a text": lambda: "error: \x1b[31m no\n\nway\x00",
        "a long text": lambda: "x" * 10**6,
        "noise": lambda: b"\xc1\xff\x00",
        "empty": lambda: b"",
        "a number": lambda: pack(3),
        "a list": lambda: pack([1, 2]),
        "no actions": lambda: pack({"x": actions}),
        "no numbers": lambda: pack({"actions": np.full(10, np.nan)}),
        "infinity": lambda: pack({"actions": np.full((4, 10), np.inf)}),
        "texts": lambda: pack({"actions": np.array(["x"] * 10)}),
        "words": lambda: pack({"actions": "stand"}),
        "lists": lambda: pack({"actions": [[0.0] * 10]}),
        "nothing": lambda: pack({"actions": np.zeros((0, 10), np.float32)}),
        "an action too short": lambda: pack({"actions": actions[:9]}),
        "an action too deep": lambda: pack({"actions": actions[None, None, None]}),
        "whole numbers": lambda: pack({"actions": np.zeros(10, np.uint8)}),
        "no or yes": lambda: pack({"actions": np.zeros(10, bool)}),
        "great numbers": lambda: pack({"actions": np.full(10, 1e300)}),
        "a chunk of 20 MB": lambda: pack({"actions": np.zeros((500_000, 10), np.float32)}),
        "70 MB": lambda: bytes(70_000_000),
        "an object": lambda: msgpack.packb({"actions": _array(b"x", "|O", [1])}),
        "a name that is no text": lambda: msgpack.packb({b"\xff": 1, 3: 2}),
        "sound": lambda: pack({"actions": actions}),
    }


def answered(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A server of others: what it says of itself, or what it answers, is strange."""
    meta = json.loads(Network.load(exported(sound)).interface.to_json())
    file = folder / "meta.json"
    file.write_text(json.dumps(meta))
    which = int(rng.integers(10))
    words = "sound"
    if which < 3:
        what = damage_json(rng, file)
    elif which < 4:
        what = foreign_text(rng, file)
    else:
        file.write_text("")
        words = list(_answers())[int(rng.integers(len(_answers())))]
        what = words
    first = words if which == 9 else ""
    arguments = (str(file), words, first, str(sound.data), str(folder / "evaluation"))
    return Damaged(f"{what}{' first' * bool(first)}", call("tests.faults.policies:ask", *arguments))


def ask(meta: str, words: str, first: str, references: str, out: str) -> int:
    """Evaluates the policy of a server that answers in a way of `_answers`."""
    text = Path(meta).read_text("utf-8", "replace")
    make = _answers()[words]
    head = _answers()[first]() if first else pack({"vand_robot": text} if text else {})

    def handle(client: ServerConnection) -> None:
        client.send(head)
        for _ in client:
            client.send(make())

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        short = ["--episodes", "1", "--task", "wipe", "--jobs", "1", "--out", out]
        try:
            return command(["evaluate", "--server", address, "--references", references, *short])
        finally:
            server.shutdown()


# ------------------------------------------------------------------ how others' policies see


class Standing:
    """A policy that does nothing."""

    def infer(self, _: Mapping[str, Any]) -> Any:
        return {"actions": np.zeros((100, 10))}


_MAPPING: dict[str, Any] = {
    "observations": {"observation.state": ["joint_pos", "gripper"]},
    "prompt": "task",
    "execute": 100,
    "reset": None,
    "actions": "actions",
    "robot": "vander",
    "action_mode": "ee_twist",
    "control_dt_s": 0.2,
}
_LINES = (
    "observations: [joint_pos]",
    "observations: {a: joint_pos, a: gripper}",
    "observations: {a: []}",
    "observations: {~: [gripper], 3: [gripper]}",
    "observations: {? [a] : [gripper]}",
    "images: {a: {camera: head_rgb, size: [99999, 99999]}}",
    "images: {a: {camera: head_rgb, size: [0, 0]}}",
    "images: {a: {camera: head_rgb, size: [8]}}",
    "images: {a: {camera: head_rgb}, b: {camera: head_rgb, size: [8, 8]}}",
    "images: {a: head_rgb}",
    "execute: 0",
    "execute: 99999999999999999999",
    "control_dt_s: -0.0",
    "control_dt_s: .inf",
    "control_dt_s: 1e-300",
    "robot: nobody",
    "robot: ../../etc",
    "action_mode: native",
    "prompt: 2026-01-01",
    "prompt: '\\0'",
    "<<: *x",
    "&a [*a, *a]",
    "!!binary aGVsbG8=",
    "? complex\n: key",
    "%YAML 9.9\n---\nprompt: x",
    "---\nprompt: x\n---\nprompt: y",
    "\ufeffprompt: x",
    "prompt: \u202egnp",
)


def mapping(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A damaged mapping between our observations and those of another project's policy."""
    file = folder / "mapping.yaml"
    which = int(rng.integers(10))
    if which < 5:
        inner = folder / "mapping.json"
        inner.write_text(json.dumps(_MAPPING))
        what = damage_json(rng, inner)
        file.write_text(inner.read_text())
    elif which < 8:
        line = _pick(rng, _LINES)
        file.write_text(line + "\n", "utf-8")
        what = f"{line[:40]!r}"
    else:
        file.write_text(yaml.safe_dump(_MAPPING))
        what = [damage_bytes, replace_file, foreign_text][int(rng.integers(3))](rng, file)
    words = ("evaluate", "--policy", "tests.faults.policies:Standing", "--mapping", str(file))
    words += ("--references", str(sound.data), "--episodes", "1", "--task", "wipe", "--jobs", "1")
    return Damaged(what, (*words, "--out", str(folder / "evaluation")))


def _pick(rng: np.random.Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]
