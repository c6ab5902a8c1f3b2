"""Two hundred ways to damage a data set."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

COUNT = 200

ARRAYS = ["actions", "action_dict/gripper", "obs/ee_pos", "next_obs/ee_pos", "states"]
ARRAYS += ["rewards", "dones"]
_OF_EPISODES = "num_samples task instruction device seed success control_dt_s action_mode"
_OF_EPISODES += " model_file recorded_at versions uid"
ATTRIBUTES = [
    *(("/data/demo_1", name) for name in _OF_EPISODES.split()),
    *(("/", name) for name in ("format", "format_version")),
    *(("/data", name) for name in ("total", "env_args")),
]


def corrupt(index: int, sound: Path, out: Path) -> str:
    """Writes the damaged file of an index below `COUNT`; says what was done."""
    rng = np.random.default_rng([20, index])
    content = bytearray(sound.read_bytes())
    if index < 25:
        size = int(rng.integers(0, len(content)))
        out.write_bytes(content[:size])
        return f"cut to {size} bytes"
    if index < 75:
        places = _heap_bytes(content) if index < 50 else range(len(content))
        at = rng.choice(places, int(rng.integers(1, 30)))
        for place in at:
            content[place] ^= 1 << int(rng.integers(8))
        out.write_bytes(content)
        return f"{len(at)} bits flipped{' in the heaps of texts' if index < 50 else ''}"
    if index < 95:
        filler, block = (0, 0xFF)[index % 2], 4096 >> int(rng.integers(0, 6))
        start = int(rng.integers(0, len(content) - block))
        if index < 85:  # where the file is described
            start = int(rng.choice(_heap_bytes(content))) // block * block
        content[start : start + block] = bytes([filler]) * len(content[start : start + block])
        out.write_bytes(content)
        return f"{block} bytes of {filler} at {start}"
    if index < 95 + len(FOREIGN):
        name, write = list(FOREIGN.items())[index - 95]
        write(out, content)
        return name
    (name, change) = STRUCTURAL[index % len(STRUCTURAL)]
    out.write_bytes(content)
    with h5py.File(out, "r+", libver=("v110", "v110")) as file:
        change(file)
    return name


def _heap_bytes(content: bytes | bytearray) -> list[int]:
    """Places in the heaps that HDF5 keeps texts in, and which carry no checksum."""
    places: list[int] = []
    at = content.find(b"GCOL")
    while at >= 0:
        places += range(at, min(at + 4096, len(content)))
        at = content.find(b"GCOL", at + 4)
    return places


# ------------------------------------------------------------------ files that were never ours


def _foreign(fill: Callable[[Any], Any], **options: Any) -> Callable[[Path, bytes], None]:
    def write(path: Path, _: bytes) -> None:
        with h5py.File(path, "w", **options) as file:
            fill(file)

    return write


def _bytes(content: bytes) -> Callable[[Path, bytes], None]:
    return lambda path, _: path.write_bytes(content) and None


def _robomimic(file: Any) -> None:
    demo = file.create_group("data/demo_0")
    demo.create_dataset("actions", data=np.zeros((5, 7)))
    demo.create_dataset("obs/eef_pos", data=np.zeros((5, 3)))
    demo.attrs["num_samples"] = 5
    file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})


FOREIGN: dict[str, Callable[[Path, bytes], Any]] = {
    "a text": _bytes(b"episode 1: went well\n" * 100),
    "nothing": _bytes(b""),
    "zeros": _bytes(bytes(20_000)),
    "a picture": _bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8),
    "the signature of HDF5 alone": _bytes(b"\x89HDF\r\n\x1a\n"),
    "the signature of HDF5, then noise": lambda path, _: path.write_bytes(
        b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(5000)
    ),
    "ours twice": lambda path, content: path.write_bytes(content[100:] + content),
    "foreign HDF5": _foreign(lambda file: file.create_dataset("x", data=np.arange(3))),
    "empty HDF5": _foreign(lambda file: None),
    "a file of robomimic": _foreign(_robomimic),
    "HDF5 whose /data is an array": _foreign(lambda file: file.create_dataset("data", data=[1.0])),
    "HDF5 of the latest version": _foreign(
        lambda file: file.create_group("data"), libver=("latest", "latest")
    ),
    "HDF5 with our mark alone": _foreign(
        lambda file: file.attrs.update(format="vand-robot-demos", format_version=1)
    ),
    "HDF5 with a user block": _foreign(lambda file: file.create_group("data"), userblock_size=512),
}


# ------------------------------------------------------ files whose structure says something else


def _replace(place: str, **dataset: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[place]
        file.create_dataset(place, **dataset)

    return change


def _relink(place: str, link: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[place]
        if link is not None:
            file[place] = link

    return change


def _edit(place: str, edit: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Puts a function of the array in its place."""

    def change(file: Any) -> None:
        data = edit(file[place][()])
        _replace(place, data=data)(file)

    return change


_COMPOUND = np.dtype([("a", "f4"), ("b", "i8")])
ARRAY_CHANGES: dict[str, Callable[[str], Callable[[Any], None]]] = {
    "complex numbers": lambda p: _edit(p, lambda a: a.astype(np.complex64)),
    "small integers": lambda p: _edit(p, lambda a: a.astype(np.int8)),
    "texts": lambda p: _edit(p, lambda a: np.full(a.shape, b"x")),
    "records": lambda p: _edit(p, lambda a: np.zeros(len(a), _COMPOUND)),
    "lists": lambda p: _replace(p, shape=(9,), dtype=h5py.vlen_dtype("f4")),
    "references": lambda p: _replace(p, shape=(9,), dtype=h5py.ref_dtype),
    "opaque bytes": lambda p: _edit(p, lambda a: np.zeros(len(a), "V16")),
    "half precision": lambda p: _edit(p, lambda a: a.astype(np.float16)),
    "a row too few": lambda p: _edit(p, lambda a: a[:-1]),
    "a row too many": lambda p: _edit(p, lambda a: np.concatenate([a, a[-1:]])),
    "one axis more": lambda p: _edit(p, lambda a: a[..., None]),
    "a number less a step": lambda p: _edit(p, lambda a: a[..., :0] if a.ndim > 1 else a[:0]),
    "one number": lambda p: _replace(p, data=1.0),
    "no shape": lambda p: _replace(p, data=h5py.Empty("f4")),
    "not a number": lambda p: _edit(p, lambda a: np.full_like(a.astype("f4"), np.nan)),
    "infinity": lambda p: _edit(p, lambda a: np.full_like(a.astype("f4"), np.inf)),
    "a declared terabyte": lambda p: _replace(p, shape=(9, 10**11), dtype="f4", chunks=(9, 10)),
    "a declared chunk of 3 GB": lambda p: _replace(
        p, shape=(9, 10**8), dtype="f4", chunks=(9, 9 * 10**7)
    ),
    "years of steps": lambda p: _replace(p, shape=(2**60,), dtype="f4", chunks=(1000,)),
    "another file's bytes": lambda p: _replace(
        p, shape=(9,), dtype="f4", external=[("/etc/passwd", 0, 36)]
    ),
    "a link to another file": lambda p: _relink(p, h5py.ExternalLink("/etc/passwd", "/x")),
    "a link to itself": lambda p: _relink(p, h5py.SoftLink(f"/{p}")),
    "a group": lambda p: lambda file: (_relink(p, None)(file), file.create_group(p))[0],
    "nothing": lambda p: _relink(p, None),
}


def _label(place: str, name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[place].attrs[name]
        if value is not None:
            file[place].attrs[name] = value

    return change


ATTRIBUTE_VALUES: dict[str, Any] = {
    "nothing": None,
    "a million integers": np.arange(10**6),
    "a list of texts": ["a", "b"],
    "a text of 30 MB": "[" * 30_000_000,
    "a fixed text of 20 MB": np.bytes_(b"x" * 20_000_000),
    "bytes that are no text": np.bytes_(b"\xff\xfe\x00\x01"),
    "a negative number": -7,
    "a number beyond all": 2**63 - 1,
    "not a number": float("nan"),
    "no shape": h5py.Empty("f4"),
    "a record": np.zeros((), _COMPOUND),
    "the wrong text": "no such thing",
}

STRUCTURAL: list[tuple[str, Callable[[Any], None]]] = [
    *(
        (f"{array}: {name}", change(f"data/demo_1/{array}"))
        for array, (name, change) in product(ARRAYS, ARRAY_CHANGES.items())
    ),
    *(
        (f"{place} {attribute}: {name}", _label(place, attribute, value))
        for (place, attribute), (name, value) in product(ATTRIBUTES, ATTRIBUTE_VALUES.items())
    ),
]
np.random.default_rng(3).shuffle(STRUCTURAL)  # type: ignore[arg-type]
