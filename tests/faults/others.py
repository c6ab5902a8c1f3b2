"""Two hundred inputs more, of kinds that the corpus does not make."""

import hashlib
import io
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.faults.runs import renew_hashes
from tests.faults.scenes import scenes
from tests.faults.sound import Damaged, Sound, evaluate, resume
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.jobs import plan_jobs
from vand_robot.evaluation.perturbations import NOMINAL
from vand_robot.evaluation.target import load_target
from vand_robot.layout import JOBS_FOLDER

COUNTS: Mapping[str, int] = {
    "swapped": 40,
    "numbers": 50,
    "headers": 30,
    "jobs": 20,
    "worlds": 20,
    "names": 20,
    "edited": 20,
    "scenes": 60,
}
"""Kind -> number of inputs."""


def _pick(rng: np.random.Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


# ------------------------------------------------------------------ files in each other's place


_ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "twice": lambda content: content * 2,
    "backwards": lambda content: content[::-1],
    "zeros behind": lambda content: content + bytes(4096),
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "UTF-32": lambda content: content.decode("latin-1").encode("utf-32"),
    "every other byte": lambda content: content[::2],
    "line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "no line ends": lambda content: content.replace(b"\n", b""),
    "zeros for spaces": lambda content: content.replace(b" ", b"\x00"),
    "capitals": bytes.upper,
    "words behind": lambda content: content + b"\nand so on",
}


def swapped(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A whole file of another kind in a file's place, or a file that is written otherwise."""
    run = shutil.copytree(sound.run, folder / "run")
    resumed = bool(rng.integers(2))
    names = ["policy.json", "policy.safetensors"]
    names += ["trainer.json", "optimizer.safetensors"] if resumed else []
    if not resumed:
        shutil.rmtree(run / "last")
    at = run / ("last" if resumed else "best")
    file = at / _pick(rng, names)
    if rng.integers(3):
        others = sorted(path for path in sound.run.parent.rglob("*") if path.is_file())
        other = _pick(rng, [*others, sound.data])
        shutil.copyfile(other, file)
        what = f"{other.name} as {file.name}"
    else:
        how = _pick(rng, _ENCODINGS)
        file.write_bytes(_ENCODINGS[how](file.read_bytes()))
        what = f"{file.name}: {how}"
    arguments = resume(sound, run) if resumed else evaluate(run, folder / "evaluation")
    return Damaged(what, arguments)


# ------------------------------------------------------------------ numbers at the edge


_EDGES: tuple[Any, ...] = (
    *(-(2**63), 2**31, 2**63, 10**7, 10**7 + 1, -0.0, 5e-324, 1e-5, 0.5, 1.0, 1e300, 65536),
    *(False, "1", [2], 1e-45, 3.4e38, 1e39, -1e-9, 255, 256, 4096),
)


def _numbers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Owners and keys of all numbers in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        if isinstance(item, dict | list):
            yield from _numbers(item)
        elif isinstance(item, int | float):
            yield value, key


def numbers(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """Some numbers of a file put at the edge of a type or a bound, or lists stretched and cut."""
    run = shutil.copytree(sound.run, folder / "run")
    resumed = bool(rng.integers(2))
    file = run / _pick(rng, ["last/trainer.json", "last/policy.json"] if resumed else ["best"])
    if not resumed:
        shutil.rmtree(run / "last")
        file = file / "policy.json"
    content = json.loads(file.read_text())
    done = []
    for _ in range(int(rng.integers(1, 4))):
        part = _pick(rng, [content, content.get("extras", content), content.get("spec", content)])
        owner, key = _pick(rng, _numbers(part))
        edge = _pick(rng, _EDGES)
        if isinstance(owner, list) and not rng.integers(3):
            owner[:] = _pick(rng, [owner * 1000, [], owner[:-1], [list(owner)], owner[::-1]])
            edge = f"{len(owner)} items"
        else:
            owner[key] = edge
        done.append(f"{key}={edge!r}")
    file.write_text(json.dumps(content))
    arguments = resume(sound, run) if resumed else evaluate(run, folder / "evaluation")
    return Damaged(f"{file.name}: {', '.join(done)}", arguments)


# ------------------------------------------------------------------ headers of safetensors


def _safetensors(header: Any, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def _tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


_HEADERS: Mapping[str, Callable[[], bytes]] = {
    "size 2^63": lambda: _safetensors({}, size=2**63),
    "size 2^40": lambda: _safetensors({}, size=2**40),
    "size 90 MB": lambda: _safetensors(b" " * 90_000_000),
    "deep": lambda: _safetensors(b"[" * 100_000),
    "deep objects": lambda: _safetensors(b'{"a":' * 100_000),
    "no object": lambda: _safetensors([]),
    "number": lambda: _safetensors(3),
    "negative shape": lambda: _safetensors({"x": _tensor([-1], 0, 4)}, bytes(4)),
    "overflowing shape": lambda: _safetensors({"x": _tensor([2**62, 8], 0, 4)}, bytes(4)),
    "overlapping": lambda: _safetensors(
        {"x": _tensor([2], 0, 8), "y": _tensor([2], 4, 12)}, bytes(12)
    ),
    "backwards": lambda: _safetensors({"x": _tensor([1], 8, 4)}, bytes(8)),
    "beyond the end": lambda: _safetensors({"x": _tensor([10**9], 0, 4 * 10**9)}, bytes(8)),
    "hole": lambda: _safetensors({"x": _tensor([1], 4, 8)}, bytes(8)),
    "unknown type": lambda: _safetensors({"x": _tensor([1], 0, 4, "F7")}, bytes(4)),
    "8 bits": lambda: _safetensors({"x": _tensor([4], 0, 4, "F8_E4M3")}, bytes(4)),
    "brain floats": lambda: _safetensors({"x": _tensor([2], 0, 4, "BF16")}, bytes(4)),
    "many axes": lambda: _safetensors({"x": _tensor([1] * 3000, 0, 4)}, bytes(4)),
    "many tensors": lambda: _safetensors({f"x{i}": _tensor([0], 0, 0) for i in range(100_000)}),
    "long name": lambda: _safetensors({"x" * 500_000: _tensor([1], 0, 4)}, bytes(4)),
    "name with a surrogate": lambda: _safetensors({"\ud800": _tensor([1], 0, 4)}, bytes(4)),
    "same name twice": lambda: _safetensors(
        b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "meta data": lambda: _safetensors({"__metadata__": {"a": 3}}),
    "nothing in it": lambda: _safetensors({}),
    "a scalar": lambda: _safetensors({"x": _tensor([], 0, 4)}, bytes(4)),
    "bytes behind": lambda: _safetensors({"x": _tensor([1], 0, 4)}, bytes(4096)),
}


def headers(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A file of tensors whose header was made by hand, with a hash that agrees."""
    run = shutil.copytree(sound.run, folder / "run")
    resumed = bool(rng.integers(2))
    name = _pick(rng, _HEADERS)
    at = run / ("last" if resumed else "best")
    file = at / ("optimizer.safetensors" if resumed else "policy.safetensors")
    file.write_bytes(_HEADERS[name]())
    renew_hashes(at)
    if not resumed:
        shutil.rmtree(run / "last")
    arguments = resume(sound, run) if resumed else evaluate(run, folder / "evaluation")
    return Damaged(f"{file.name}: {name}", arguments)


# ------------------------------------------------------------------ finished jobs of an evaluation


def _archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


_ROW = {"task": "wipe", "perturbation": "nominal", "seed": TEST_SEED}

_ARCHIVES: Mapping[str, Callable[[], bytes]] = {
    "no archive": lambda: b"hello",
    "empty": lambda: b"",
    "nothing in it": _archive,
    "pickled": lambda: _archive(rows=np.array([{"a": 1}], object)),
    "rows of another type": lambda: _archive(rows=np.zeros(3), stage_times_s=np.zeros((1, 4))),
    "rows that are no list": lambda: _archive(rows=np.array("3"), stage_times_s=np.zeros((1, 4))),
    "no rows": lambda: _archive(rows=np.array("[]"), stage_times_s=np.zeros((0, 4))),
    "rows without keys": lambda: _archive(rows=np.array("[{}]"), stage_times_s=np.zeros((1, 4))),
    "rows of zeros": lambda: _archive(
        rows=np.array('[{"task": 0, "success": "x"}]'), stage_times_s=np.zeros(3)
    ),
    "few keys": lambda: _archive(
        rows=np.array(json.dumps([{**_ROW, "success": True}])), stage_times_s=np.zeros((1, 0))
    ),
    "gigabytes of zeros": lambda: _archive(
        rows=np.array("[]"), stage_times_s=np.zeros(3 * 10**8, np.int8)
    ),
}


def jobs(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """The file of a finished job, with a checksum that agrees, of an evaluation that goes on."""
    out = folder / "evaluation"
    target = load_target(sound.run)
    dt = target.control_dt_s
    (job,) = plan_jobs(["wipe"], [NOMINAL], target.references, episodes=1, control_dt_s=dt)
    file = JobFolder(out / JOBS_FOLDER, target.digest, target.references)._file(job)
    file.parent.mkdir(parents=True)
    name = _pick(rng, _ARCHIVES)
    packed = _ARCHIVES[name]()
    file.write_bytes(hashlib.sha256(packed).digest() + packed)
    return Damaged(f"job: {name}", (*evaluate(sound.run, out), "--resume"))


# ------------------------------------------------------------------ worlds in a data set


def _world(inside: str) -> str:
    return f"<mujoco><worldbody>{inside}</worldbody></mujoco>"


_WORLDS: Mapping[str, str] = {
    "no end": "<mujoco><worldbody>",
    "deep": "<mujoco><worldbody>" + "<body>" * 50_000,
    "deep and closed": _world("<body>" * 3000 + "</body>" * 3000),
    "an entity": '<!DOCTYPE x [<!ENTITY a "aaa">]><mujoco model="&a;"/>',
    "a file": '<mujoco><asset><mesh file="/etc/passwd"/></asset></mujoco>',
    "an include": '<mujoco><include file="/dev/zero"/></mujoco>',
    "a height field": '<mujoco><asset><hfield name="x" nrow="1000" ncol="1000"'
    ' size="1 1 1 1"/></asset></mujoco>',
    "a great height field": '<mujoco><asset><hfield name="x" nrow="5000" ncol="5000"'
    ' size="1 1 1 1"/></asset></mujoco>',
    "a great texture": '<mujoco><asset><texture name="x" builtin="flat" type="2d" width="99999"'
    ' height="99999"/></asset></mujoco>',
    "memory": '<mujoco><size memory="100G"/></mujoco>',
    "user data": '<mujoco><size nuserdata="1000000000"/></mujoco>',
    "negative user data": '<mujoco><size nuserdata="-7"/></mujoco>',
    "keys": '<mujoco><size nkey="100000000"/></mujoco>',
    "no time": '<mujoco><option timestep="0"/></mujoco>',
    "not a number": '<mujoco><option timestep="nan" gravity="nan nan nan"/></mujoco>',
    "iterations": '<mujoco><option iterations="2147483647" tolerance="0"/></mujoco>',
    "geoms": _world('<geom size="1"/>' * 20_000),
    "a grid": _world('<replicate count="100000"><geom size="1"/></replicate>'),
    "a picture": '<mujoco><visual><global offwidth="99999" offheight="9"/></visual></mujoco>',
    "empty": "<mujoco/>",
    "zero bytes": "<mujoco\x01/>",
}


def worlds(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """Another world inside a demonstration, which is then restored or drawn from its states."""
    name = _pick(rng, _WORLDS)
    data = Path(shutil.copyfile(sound.data, folder / "data.hdf5"))
    with h5py.File(data, "r+") as file:
        for demo in file["data"].values():
            demo.attrs["model_file"] = _WORLDS[name]
    command = _pick(rng, ["states", "actions", "html"])
    if command == "html":
        arguments = ("replay", str(data), "--out", str(folder / "page.html"))
    else:
        arguments = ("demos", "verify", str(data), "--from", command)
    return Damaged(f"model_file: {name}: {command}", arguments)


# ------------------------------------------------------------------ names of files and folders


_NAMES: tuple[bytes, ...] = (
    *(b"$^$", b"\xff\xfe", b"new\nline", b" ", b"~nobody", b"%s%n{0}{x}", b"<img src=x>", b"'\""),
    *("\u202e\u0301ü".encode(), b"x" * 255, b"-0", b"\x1b[31mred", b"a=b", b"[x]", b"[*]", b".x"),
)


def names(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A sound run or data set under an unlikely name."""
    given = _pick(rng, _NAMES)
    name = os.fsdecode(given)
    place = f"{folder}/{name}"
    command = _pick(rng, ["evaluate", "train", "compare", "info", "plot", "export"])
    if command == "evaluate":
        arguments = evaluate(shutil.copytree(sound.run, place), folder / "evaluation")
    elif command == "train":
        shutil.copyfile(sound.data, place)
        words = list(resume(sound, Path(place))[:-1])
        words[2] = f"data={place}"
        arguments = (*words[: words.index("--out")], "--out", str(folder / "run"))
    elif command == "compare":
        (folder / "runs").mkdir()
        copy = shutil.copytree(sound.results[0], folder / "runs" / name)
        content = json.loads((copy / "results.json").read_text())
        content["policy"]["run"] = given.decode("latin-1")
        (copy / "results.json").write_text(json.dumps(content))
        arguments = ("compare", str(folder / "runs"), "--out", f"{place}{name}"[:200])
    else:
        shutil.copyfile(sound.data, place)
        out = {"plot": ("--out", str(folder / "p")), "info": ()}
        form = ("--format", "lerobot", "--out", str(folder / "e"))
        arguments = ("demos", command, place, *out.get(command, form))
    return Damaged(f"{command}: name {given!r:.40}", arguments)


# ------------------------------------------------------------------ damaged data sets, edited


def edited(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A data set whose text heaps, attributes or links are damaged, for the tools that edit."""
    data = Path(shutil.copyfile(sound.data, folder / "data.hdf5"))
    how = int(rng.integers(5))
    if how == 0:
        content = bytearray(data.read_bytes())
        at = int(rng.integers(len(content) - 64))
        content[at : at + 64] = rng.bytes(64)
        data.write_bytes(content)
    else:
        with h5py.File(data, "r+") as file:
            demo = file["data/demo_0"]
            if how == 1:
                demo.attrs[_pick(rng, demo.attrs)] = _pick(rng, _EDGES[:12])
            elif how == 2:
                file["mask/train"] = _pick(rng, [h5py.SoftLink("/data"), np.zeros((3, 3))])
            elif how == 3:
                file[f"data/{_pick(rng, ['demo_x', 'demo_-1', 'demo_99999999999'])}"] = demo
            else:
                file["data"].attrs["env_args"] = _pick(rng, ["{}", "[", '{"type": "x"}', "null"])
    out = ("--out", str(folder / "out.hdf5"))
    commands = (
        ("demos", "merge", str(data), str(sound.data), *out),
        ("demos", "filter", str(data), "--success", *out),
        ("demos", "split", str(data)),
        ("demos", "delete", str(data), "demo_1"),
        ("demos", "info", str(data)),
        ("demos", "plot", str(data), "--out", str(folder / "plots")),
        ("demos", "export", str(data), "--format", "lerobot", "--out", str(folder / "export")),
    )
    command = _pick(rng, commands)
    return Damaged(f"data set: {how}: {command[1]}", command)


KINDS: Mapping[str, Callable[[np.random.Generator, Sound, Path], Damaged]] = {
    "swapped": swapped,
    "numbers": numbers,
    "headers": headers,
    "jobs": jobs,
    "worlds": worlds,
    "names": names,
    "edited": edited,
    "scenes": scenes,
}
