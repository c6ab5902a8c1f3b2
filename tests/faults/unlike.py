"""Inputs of a second mind: links, types and masks of HDF5, and JSON written otherwise."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.faults.sound import SHORT, Damaged, Sound, evaluate, resume

Change = Callable[[np.random.Generator, Any], str]
"""Changes an open HDF5 file, and says how."""


def _pick(rng: np.random.Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


# ------------------------------------------------------------------ data sets


_SIGNATURES = (b"OHDR", b"TREE", b"SNOD", b"FRHP", b"BTHD", b"BTLF", b"FADB", b"EAHD", b"OCHK")


def _swap_bytes(rng: np.random.Generator, file: Path) -> str:
    """Swaps neighbors within the headers of objects."""
    content = bytearray(file.read_bytes())
    places = [
        at for name in _SIGNATURES for at in range(len(content)) if content.startswith(name, at)
    ]
    for _ in range(int(rng.integers(1, 6))):
        at, width = _pick(rng, places) + 4 + int(rng.integers(120)), _pick(rng, (1, 2, 4))
        a, b = content[at : at + width], content[at + width : at + 2 * width]
        content[at : at + 2 * width] = b + a
    file.write_bytes(content)
    return "bytes swapped in headers"


_LINKS: Mapping[str, Callable[[Any], Any]] = {
    "a group in itself": lambda demo: demo["obs"].__setitem__("up", demo.parent),
    "a link to nowhere": lambda demo: demo["obs"].__setitem__("x", h5py.SoftLink("/no/where")),
    "a link to a device": lambda demo: demo["obs"].__setitem__(
        "x", h5py.ExternalLink("/dev/zero", "/x")
    ),
    "a link of 40,000 letters": lambda demo: demo["obs"].__setitem__(
        "x", h5py.SoftLink("/data" + "/." * 20_000)
    ),
    "the root as a demonstration": lambda demo: demo.parent.__setitem__("demo_7", demo.file["/"]),
    "a demonstration twice": lambda demo: demo.parent.__setitem__("demo_9", demo),
    "a link as a demonstration": lambda demo: demo.parent.__setitem__(
        "demo_8", h5py.SoftLink("/data/demo_0")
    ),
    "groups 500 deep": lambda demo: demo["obs"].create_group("/".join("x" * 500)),
    "an array as a demonstration": lambda demo: demo.parent.__setitem__("demo_5", np.zeros(3)),
    "a demonstration with nothing in it": lambda demo: demo.parent.create_group("demo_5"),
    "a key of 60,000 letters": lambda demo: demo["obs"].__setitem__("k" * 60_000, np.zeros(3)),
    "a key that turns the text": lambda demo: demo["obs"].__setitem__("\u202e\u0301", np.zeros(3)),
}


def _links(rng: np.random.Generator, file: Any) -> str:
    name = _pick(rng, _LINKS)
    _LINKS[name](file["data/demo_0"])
    return str(name)


_ARRAYS = ("actions", "rewards", "dones", "obs/ee_pos", "action_dict/gripper", "next_obs/ee_pos")
_TYPES: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "big end first": lambda a: {"data": a.astype(">f4")},
    "long doubles": lambda a: {"data": a.astype(np.longdouble)},
    "no or yes": lambda a: {"data": a.astype(bool)},
    "names of numbers": lambda a: {
        "data": np.zeros(a.shape, "i4"),
        "dtype": h5py.enum_dtype({"a": 0, "b": 1}, "i4"),
    },
    "the largest integers": lambda a: {"data": np.full(a.shape, 2**64 - 1, "u8")},
    "arrays as numbers": lambda a: {"shape": a.shape[:1], "dtype": np.dtype((np.float32, (3,)))},
    "minus zero": lambda a: {"data": np.full(a.shape, -0.0, "f4")},
    "next to nothing": lambda a: {"data": np.full(a.shape, 1e-45, "f4")},
    "the largest numbers": lambda a: {"data": np.full(a.shape, 3.4e38, "f4")},
    "numbers in words": lambda a: {"data": np.full(a.shape, b"0.5", "S10")},
    "rounded in the file": lambda a: {
        "data": a.astype("f4"),
        "chunks": True,
        "scaleoffset": 3,
    },
    "another compression": lambda a: {"data": a, "chunks": True, "compression": "lzf"},
    "a filling that is no number": lambda a: {
        "shape": a.shape,
        "dtype": "f4",
        "chunks": True,
        "fillvalue": np.nan,
    },
    "an axis of no length": lambda a: {"data": a[..., None][..., :0]},
    "time last": lambda a: {"data": a.T},
}


def _types(rng: np.random.Generator, file: Any) -> str:
    demo, path, name = file["data/demo_0"], _pick(rng, _ARRAYS), _pick(rng, _TYPES)
    array = demo[path][()]
    del demo[path]
    demo.create_dataset(path, **_TYPES[name](array))
    return f"{path}: {name}"


def _virtual(rng: np.random.Generator, file: Any) -> str:
    demo, path = file["data/demo_0"], _pick(rng, _ARRAYS)
    shape = demo[path].shape
    del demo[path]
    layout = h5py.VirtualLayout(shape, "f4")
    source = _pick(rng, [".", "/dev/zero", "none.hdf5", "/etc/passwd"])
    layout[...] = h5py.VirtualSource(source, "/data/demo_1/actions", shape=shape)
    demo.create_virtual_dataset(path, layout)
    return f"{path}: numbers of {source}"


_TEXTS = ("", "\u202ewipe", "wi\u200bpe", "WIPE", "wipe\n", "e\u0301" * 1000, "../wipe", "-0")
_TEXTS += ("0000-00-00", "2026-02-30T00:00:00+00:00", "9999-99-99T99:99:99Z", '{"a":1,"a":2}')
_VALUES: tuple[Any, ...] = (
    *_TEXTS,
    *(5.0, [5], [[1, 2], [3, 4]], True, -0.0, 5e-324, np.uint64(2**64 - 1), np.longdouble(1)),
    *(h5py.Empty("f4"), np.array([], "f4"), np.bytes_(b""), b"\xff\xfe", np.void(b"ab")),
    *(np.array([1, 2], ">i4"), np.zeros(8000), np.zeros((), [("a", "f4")])),
)


def _attributes(rng: np.random.Generator, file: Any) -> str:
    place = file["data" if rng.integers(5) == 0 else "data/demo_0"]
    name, value = _pick(rng, place.attrs), _pick(rng, _VALUES)
    place.attrs[name] = value
    return f"{name}: {value!r:.40}"


_MASKS: Mapping[str, Any] = {
    "twice the same": [b"demo_0"] * 3,
    "nobody": [b"demo_77"],
    "integers": [0, 1],
    "one name": b"demo_0",
    "none": np.zeros(0, "S6"),
    "no text": [b"\xff\xfe"],
    "a table": [[b"demo_0"]],
    "200,000 names": [f"demo_{i}".encode() for i in range(200_000)],
}


def _mask(rng: np.random.Generator, file: Any) -> str:
    file.pop("mask", None)
    name = _pick(rng, _MASKS)
    file[f"mask/{_pick(rng, ['train', 'valid', 'other'])}"] = _MASKS[name]
    return f"mask: {name}"


_CHANGES: tuple[Change, ...] = (_links, _types, _types, _virtual, _attributes, _attributes, _mask)


def data_sets(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A data set with strange links, types, attributes or masks, for all that reads data sets."""
    data = Path(shutil.copyfile(sound.data, folder / "data.hdf5"))
    if rng.integers(8) == 0:
        what = _swap_bytes(rng, data)
    else:
        with h5py.File(data, "r+") as file:
            what = _pick(rng, _CHANGES)(rng, file)
    out, page = ("--out", str(folder / "out.hdf5")), ("--out", str(folder / "page.html"))
    run = ("--out", str(folder / "run"))
    session = ("--session", "3", "--rate", "5")
    commands = (
        ("demos", "info", str(data)),
        ("demos", "verify", str(data)),
        ("demos", "filter", str(data), "--success", *out),
        ("demos", "split", str(data)),
        ("demos", "repair", str(data)),
        ("demos", "plot", str(data), "--out", str(folder / "plots")),
        ("demos", "export", str(data), "--format", "robomimic", *out),
        ("train", "quickstart", f"data=[{data}]", *SHORT, "updates=1", *run),
        ("record", "wipe", "--episodes", "3", *session, "--resume", "--out", str(data)),
        ("replay", str(data), *page),
    )
    command = _pick(rng, commands)
    return Damaged(f"{what}: {' '.join(command[:2])}", command)


# ------------------------------------------------------------------ JSON, written otherwise


def _twice(content: dict[str, Any], key: str) -> str:
    return json.dumps(content)[:-1] + f", {json.dumps(key)}: null}}"


_WRITTEN: Mapping[str, Callable[[dict[str, Any], str], str]] = {
    "a key twice": _twice,
    "a comment": lambda content, _: f"// hello\n{json.dumps(content)}",
    "single quotes": lambda content, _: json.dumps(content).replace('"', "'"),
    "a comma behind": lambda content, _: json.dumps(content)[:-1] + ",}",
    "bytes behind": lambda content, _: json.dumps(content) + "\n\x00\x01",
    "not a number": lambda content, key: json.dumps({**content, key: float("nan")}),
    "2^63": lambda content, key: json.dumps({**content, key: 2**63}),
    "a key of a million letters": lambda content, _: json.dumps({**content, "k" * 10**6: 1}),
    "a turned key": lambda content, key: json.dumps({**content, f"\u202e{key}": 1}),
    "in a list": lambda content, _: json.dumps([content]),
    "in a text": lambda content, _: json.dumps(json.dumps(content)),
    "a date": lambda content, key: json.dumps({**content, key: "2026-13-45"}),
    "mixed types": lambda content, key: json.dumps({**content, key: [1, "a", None, {"b": [True]}]}),
    "a space that is none": lambda content, _: "\u00a0" + json.dumps(content),
    "twice the whole": lambda content, _: json.dumps(content) * 2,
    "a mark of order": lambda content, _: "\ufeff" + json.dumps(content),
    "ends of lines": lambda content, _: json.dumps(content, indent=1).replace("\n", "\r\n"),
}


def written(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A JSON file of a run, written as others write JSON, or as nobody does."""
    run = shutil.copytree(sound.run, folder / "run")
    resumed = bool(rng.integers(2))
    names = ["last/trainer.json", "last/policy.json", "provenance.json"]
    file = run / (_pick(rng, names) if resumed else "best/policy.json")
    if not resumed:
        shutil.rmtree(run / "last")
    content = json.loads(file.read_text())
    name = _pick(rng, _WRITTEN)
    text = _WRITTEN[name](content, _pick(rng, content))
    file.write_bytes(text.encode("utf-8"))
    page = ("replay", str(run), "--task", "wipe", "--out", str(folder / "page.html"))
    commands = [page, evaluate(run, folder / "evaluation")]
    command = resume(sound, run) if resumed else _pick(rng, commands)
    return Damaged(f"{file.name}: {name}: {command[0]}", command)
