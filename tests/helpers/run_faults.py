"""A thousand ways to damage everything that a command reads besides a data set."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vand_demos.interop import FOLDERS, export_dataset
from vand_robot.config.library import find_config
from vand_robot.workflows.evaluate import run_evaluation
from vand_robot.workflows.train import run_training

SEED = 15
COUNTS: Mapping[str, int] = {
    "checkpoint": 300,
    "run": 160,
    "results": 180,
    "yaml": 160,
    "lerobot": 100,
    "minari": 100,
    "others": 100,
}
"""Kind -> number of damaged inputs; with the 200 data sets of `faults` more than a thousand."""

BYTES_LIMIT = 2 << 30
"""Most memory that a command may hold on a damaged input [bytes]."""


@dataclass(frozen=True)
class Sound:
    """Sound inputs, of which damaged ones are made."""

    run: Path
    """A run's folder."""
    results: tuple[Path, Path]
    """Folders of two evaluations."""
    data: Path
    """A data set."""
    exports: Mapping[str, Path]
    """Format -> the data set's export."""


@dataclass(frozen=True)
class Damaged:
    """A damaged input."""

    what: str
    """What was done."""
    arguments: tuple[str, ...]
    """Of the command that reads it."""


def make_sound(folder: Path, data: Path) -> Sound:
    """Makes the sound inputs from a data set that has demonstrations of wiping."""
    folder.mkdir()
    run = folder / "method-0"
    run_training(find_config("quickstart"), [f"data=[{data}]", *SHORT, "updates=2"], run)
    results = (folder / "evaluation-a", folder / "evaluation-b")
    run_evaluation(run, results[0], tasks=["wipe"], episodes=1)
    shutil.copytree(*results)
    content = json.loads((results[1] / "results.json").read_text())
    content["policy"]["run"] = "other-0"
    (results[1] / "results.json").write_text(json.dumps(content))
    exports = {form: folder / f"{form}-v0" for form in FOLDERS}
    for form, out in exports.items():
        export_dataset(data, out, form)
    return Sound(run, results, data, exports)


def cases() -> Iterator[tuple[str, int]]:
    """Every damaged input: kind and index."""
    return ((kind, index) for kind, count in COUNTS.items() for index in range(count))


def damage(kind: str, index: int, sound: Sound, folder: Path, seed: int = SEED) -> Damaged:
    """Makes the damaged input of a kind and index in an empty folder."""
    rng = np.random.default_rng([seed, list(COUNTS).index(kind), index])
    return _KINDS[kind](rng, sound, folder)


# ------------------------------------------------------------------ damage of any file


def _cut(rng: np.random.Generator, content: bytearray) -> str:
    size = int(rng.integers(0, max(1, len(content))))
    del content[size:]
    return f"cut to {size} bytes"


def _flip(rng: np.random.Generator, content: bytearray) -> str:
    places = rng.integers(0, max(1, len(content)), int(rng.integers(1, 30)))
    for place in places if content else ():
        content[place] ^= 1 << int(rng.integers(8))
    return f"{len(places)} bits flipped"


def _fill(rng: np.random.Generator, content: bytearray) -> str:
    start, size = int(rng.integers(0, max(1, len(content)))), int(rng.choice([16, 256, 4096]))
    filler = int(rng.choice([0, 0xFF, 0x22, 0x5B]))
    part = len(content[start : start + size])
    content[start : start + part] = bytes([filler]) * part
    return f"{part} bytes of {filler} at {start}"


def _noise(rng: np.random.Generator, content: bytearray) -> str:
    content[:] = rng.bytes(int(rng.integers(0, 5000)))
    return "noise"


def _damage_bytes(rng: np.random.Generator, file: Path) -> str:
    content = bytearray(file.read_bytes())
    done = [_cut, _flip, _fill, _noise][int(rng.integers(4))](rng, content)
    file.write_bytes(content)
    return f"{file.name}: {done}"


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _socket(file: Path) -> None:
    here = Path.cwd()
    os.chdir(file.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(file.name)
    os.chdir(here)


_SPECIAL: tuple[Callable[[Path], Any], ...] = (
    _pipe,
    _device,
    _socket,
    lambda file: file.mkdir(),
    lambda file: file.symlink_to(file.name),
    lambda file: file.symlink_to("absent"),
    lambda file: file.write_bytes(b""),
    lambda file: None,
)


def _replace_file(rng: np.random.Generator, file: Path) -> str:
    which = int(rng.integers(len(_SPECIAL)))
    file.unlink()
    _SPECIAL[which](file)
    return f"{file.name}: special file {which}"


# ------------------------------------------------------------------ damage of JSON

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    10**18,
    10**400,
    2.5,
    float("nan"),
    float("inf"),
    1e308,
    -1e308,
    "",
    "x",
    "\ud800",
    "$^$",
    "<iframe srcdoc=x>",
    "x" * 200_000,
    [],
    [1],
    [[]],
    ["\udfff"],
    {},
    {"x": 3},
    {"name": "$^$"},
    "a/../../b",
    "\x00",
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values inside a JSON value; of long lists the first two."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


def _damage_json(rng: np.random.Generator, file: Path, under: str = "") -> str:
    """Puts another value in place of one, removes one, adds one, or renames one."""
    content = json.loads(file.read_text())
    places = [place for place in _places(content) if not under or place[0] == under]
    place = places[int(rng.integers(len(places)))]
    # shallow places are few and matter as much as the many deep ones
    place = place[: int(rng.integers(1, len(place) + 1))]
    owner = content
    for key in place[:-1]:
        owner = owner[key]
    how = int(rng.integers(10))
    value = VALUES[int(rng.integers(len(VALUES)))]
    if how < 7:
        owner[place[-1]] = value
    elif how == 7:
        del owner[place[-1]]
    elif how == 8 and isinstance(owner, dict):
        owner[str(value)[:50]] = owner.pop(place[-1])
    elif isinstance(owner, dict):
        owner["more"] = value
    else:
        owner.append(value)
    file.write_text(json.dumps(content))
    return f"{file.name}: {'.'.join(map(str, place))}: {how} {value!r:.40}"


TEXTS: tuple[str, ...] = (
    "[" * 100_000,
    '{"a":' * 100_000,
    "[]",
    "3",
    "null",
    '"x"',
    "{}",
    '{"a": 1, "a": 2}',
    "[1e999]",
    "9" * 5000,
    '"\\ud800"',
    "{'a': 1}",
    "\ufeff{}",
)


def _foreign_text(rng: np.random.Generator, file: Path) -> str:
    text = TEXTS[int(rng.integers(len(TEXTS)))]
    file.write_text(text, "utf-8")
    return f"{file.name}: {text[:20]!r}"


# ------------------------------------------------------------------ checkpoints and runs


def _hashes(folder: Path) -> None:
    """Makes `policy.json` agree with the tensors that lie beside it."""
    from hashlib import sha256  # noqa: PLC0415

    file = folder / "policy.json"
    head = json.loads(file.read_text())
    for name in head["sha256"]:
        if (folder / name).is_file():
            head["sha256"][name] = sha256((folder / name).read_bytes()).hexdigest()
    file.write_text(json.dumps(head))


def _damage_tensors(rng: np.random.Generator, file: Path) -> str:
    """Changes a tensor's name, shape, type or values, with a hash that agrees."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    tensors = load_file(file)
    name = sorted(tensors)[int(rng.integers(len(tensors)))]
    changes: list[Callable[[Any], Any]] = [
        lambda t: t.double(),
        lambda t: t.half(),
        lambda t: t.to(torch.int64),
        lambda t: t.flatten()[:-1].clone(),
        lambda t: t[None].clone(),
        lambda t: torch.full_like(t, float("nan")),
        lambda t: torch.full_like(t, float("inf")),
        lambda t: torch.full_like(t, -1),
        lambda t: torch.full_like(t, 1e38),
        lambda t: torch.zeros(0),
    ]
    how = int(rng.integers(len(changes) + 2))
    if how == len(changes):
        del tensors[name]
    elif how > len(changes):
        tensors[f"{name}/more"] = tensors.pop(name)
    else:
        tensors[name] = changes[how](tensors[name].clone())
    save_file(tensors, file)
    _hashes(file.parent)
    return f"{file.name}: {name}: {how}"


_SIZES: tuple[tuple[tuple[Any, ...], Any], ...] = (
    (("config", "policy", "hidden_size"), 8192),
    (("config", "policy", "num_layers"), 64),
    (("config", "policy", "encoder", "sizes"), [8192] * 2000),
    (("spec", "action_size"), 10**9),
    (("spec", "observations", "ee_pos"), 10**18),
    (("spec", "observations", "ee_pos"), 10**9),
    (("spec", "control_dt_s"), 0),
    (("spec", "control_dt_s"), 1e-300),
    (("spec", "images"), {"head_rgb": [16384, 16384]}),
    (("spec", "instructions"), ["x"] * 100_000),
    (("extras",), None),
    (("extras", "references"), {"wipe": 3}),
    (("extras", "references", "wipe", "median_steps"), 2**62),
    (("extras", "references", "wipe", "times_s"), [float("nan")]),
    (("metrics",), None),
)


def _damage_sizes(rng: np.random.Generator, file: Path) -> str:
    content = json.loads(file.read_text())
    done = []
    for _ in range(int(rng.integers(1, 3))):
        path, value = _SIZES[int(rng.integers(len(_SIZES)))]
        owner: Any = content
        for key in path[:-1]:
            owner = owner.setdefault(key, {}) if isinstance(owner, dict) else {}
        if isinstance(owner, dict):
            owner[path[-1]] = value
        done.append(f"{'.'.join(path)}={value!r:.30}")
    file.write_text(json.dumps(content))
    return f"{file.name}: {', '.join(done)}"


def _checkpoint(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    run = shutil.copytree(sound.run, folder / "run")
    best = run / "best"
    shutil.rmtree(run / "last")
    which = int(rng.integers(12))
    if which < 5:
        what = _damage_json(rng, best / "policy.json", ("", "extras", "spec")[which % 3])
    elif which < 7:
        what = _damage_sizes(rng, best / "policy.json")
    elif which < 9:
        what = _damage_tensors(rng, best / "policy.safetensors")
    else:
        name = ("policy.json", "policy.safetensors")[int(rng.integers(2))]
        ways = [_damage_bytes, _replace_file]
        ways += [_foreign_text] if name == "policy.json" else []
        what = ways[int(rng.integers(len(ways)))](rng, best / name)
    out = ("--out", str(folder / "evaluation"), "--episodes", "1", "--task", "wipe")
    return Damaged(what, ("evaluate", str(run), *out))


def _run(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    run = shutil.copytree(sound.run, folder / "run")
    which = int(rng.integers(12))
    if which < 4:
        what = _damage_json(rng, run / "last" / "trainer.json")
    elif which < 7:
        what = _damage_tensors(rng, run / "last" / "optimizer.safetensors")
    elif which < 8:
        what = _damage_json(rng, run / "last" / "policy.json")
    else:
        files = ["last/trainer.json", "last/optimizer.safetensors", "metrics.jsonl", "config.yaml"]
        file = run / files[int(rng.integers(len(files)))]
        ways = [_damage_bytes, _replace_file]
        ways += [] if file.suffix == ".safetensors" else [_foreign_text]
        what = ways[int(rng.integers(len(ways)))](rng, file)
    again = (f"data=[{sound.data}]", *SHORT, "updates=3", "--out", str(run), "--resume")
    return Damaged(what, ("train", "quickstart", *again))


SHORT = (
    "policy.hidden_size=8",
    "policy.encoder.sizes=[6]",
    "policy.regularizer.name=vand",
    "batch_size=3",
    "validation_interval=2",
    "rollouts.interval=0",
    "rollouts.episodes=1",
    "optimizer.warmup_updates=2",
    "threads=1",
)
"""Overrides of a run that takes a moment."""


# ------------------------------------------------------------------ results and configurations


def _results(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    for source in sound.results:
        shutil.copytree(source, folder / source.name)
    here = folder / sound.results[0].name
    which = int(rng.integers(10))
    if which < 6:
        what = _damage_json(rng, here / "results.json")
    elif which < 7:
        lines = (here / "episodes.csv").read_text().splitlines()
        at = int(rng.integers(len(lines)))
        values = ("x" * 200_000, "a," * 1000, '"', "\x00", "wipe,nominal,9" + "9" * 5000, "\ud800")
        value = values[int(rng.integers(len(values)))]
        lines[at] = value
        (here / "episodes.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        what = f"episodes.csv: line {at}: {value[:20]!r}"
    else:
        file = here / ("results.json", "episodes.csv")[int(rng.integers(2))]
        ways = [_damage_bytes, _replace_file]
        ways += [_foreign_text] if file.suffix == ".json" else []
        what = ways[int(rng.integers(len(ways)))](rng, file)
    return Damaged(what, ("compare", str(folder), "--out", str(folder / "comparison")))


_YAML: tuple[str, ...] = (
    "[" * 100_000,
    "{" * 100_000,
    "- " * 100_000,
    "? " * 10_000,
    "!!timestamp x",
    "!!int hello",
    "!!int",
    "!!python/object/apply:os.system [x]",
    "!x y",
    "&a [*a]",
    "*a",
    "0x_",
    "0b_",
    "0o_",
    "9" * 5000,
    "1e999",
    ".nan",
    '"\\ud800"',
    "${" * 1000,
    "${seed}",
    "${updates}",
    "${oc.env:HOME}",
    "${oc.decode:x}",
    "???",
    "null",
    "[]",
    "{}",
    "x",
    "$^$",
    "-1",
    "1.5",
    "true",
    "[wipe, 3]",
    "'\x01'",
    "|\n  x\n y",
    "\t",
    "8192",
    "<<: {a: 1}",
)
_KEYS = (
    *("seed", "updates", "data", "tasks", "policy", "policy.hidden_size", "policy.cell"),
    *("policy.regularizer", "policy.regularizer.name", "policy.encoder.sizes", "threads"),
    *("policy.images", "optimizer.learning_rate", "rollouts", "valid_fraction", "batch_size"),
    *("policy.future_actions.horizons_s", "policy.near_field_scales_m", "truncate_steps", "x"),
)


def _yaml(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    file = folder / "config.yaml"
    key = _KEYS[int(rng.integers(len(_KEYS)))]
    value = _YAML[int(rng.integers(len(_YAML)))]
    which = int(rng.integers(10))
    given: tuple[str, ...] = ()
    file.write_text("seed: 1\nupdates: 2\n")
    if which < 5:
        *outer, last = key.split(".")
        text = f"{last}: {value}\n"
        for name in reversed(outer):
            text = f"{name}:\n" + "".join(f"  {line}\n" for line in text.splitlines())
        file.write_text(text)
        what = f"{key}: {value[:20]!r}"
    elif which < 8:
        given = (f"{key}={value[:4000]}",)
        what = f"override {key}={value[:20]!r}"
    else:
        shutil.copyfile(sound.run / "config.yaml", file)
        what = [_damage_bytes, _replace_file, _foreign_text][int(rng.integers(3))](rng, file)
    given = tuple(word for word in given if "\x00" not in word)
    rest = (f"data=[{sound.data}]", *SHORT) if which != 4 else SHORT
    last_ones = ("updates=1", "policy.num_layers=1", *given, "--out", str(folder / "run"))
    words = [word for word in rest if word.split("=")[0] != key]
    own = [word for word in last_ones if which >= 5 or word.split("=")[0] != key]
    return Damaged(what, ("train", str(file), *words, *own))


# ------------------------------------------------------------------ folders of other formats


def _folder(form: str) -> Callable[[np.random.Generator, Sound, Path], Damaged]:
    def make(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
        copy = shutil.copytree(sound.exports[form], folder / "export-v0")
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        file = files[int(rng.integers(len(files)))]
        which = int(rng.integers(10))
        kind = {".json": _damage_json, ".parquet": _damage_table, ".hdf5": _damage_arrays}
        if which < 6 and file.suffix in kind:
            what = kind[file.suffix](rng, file)
        elif which < 7 and form == "minari":
            what = _damage_text_inside(rng, copy / "data" / "metadata.json")
        elif which < 7:
            what = _damage_json(rng, copy / "vand_robot" / "dataset.json")
        else:
            what = [_damage_bytes, _replace_file][int(rng.integers(2))](rng, file)
        out = str(folder / "again.hdf5")
        return Damaged(what, ("demos", "import", str(copy), "--format", form, "--out", out))

    return make


FIXTURES = Path(__file__).parents[1] / "fixtures"
_OTHERS: Mapping[str, Path] = {
    "lerobot": FIXTURES / "lerobot_v3",
    "minari": FIXTURES / "minari/pendulum-v0",
    "robomimic": FIXTURES / "robomimic_pendulum.hdf5",
}


def _others(rng: np.random.Generator, _: Sound, folder: Path) -> Damaged:
    """A damaged set that others made."""
    form = list(_OTHERS)[int(rng.integers(len(_OTHERS)))]
    source = _OTHERS[form]
    copy = folder / source.name
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
    files = sorted(p for p in copy.rglob("*") if p.is_file()) if source.is_dir() else [copy]
    file = files[int(rng.integers(len(files)))]
    kind = {".json": _damage_json, ".parquet": _damage_table}
    kind |= {".hdf5": _damage_arrays} if form == "minari" else {}
    if int(rng.integers(10)) < 5 and file.suffix in kind:
        what = kind[file.suffix](rng, file)
    else:
        what = [_damage_bytes, _replace_file][int(rng.integers(2))](rng, file)
    arguments = ("demos", "import", str(copy), "--format", form, "--images", "all")
    rate = () if form == "lerobot" else ("--source-rate", "20")
    return Damaged(what, (*arguments, *rate, "--out", str(folder / "again.hdf5")))


def _damage_text_inside(rng: np.random.Generator, file: Path) -> str:
    """Damages the JSON text that is a value of a JSON file."""
    content = json.loads(file.read_text())
    inner = file.with_name("inner.json")
    inner.write_text(content["vand_robot"])
    what = _damage_json(rng, inner)
    content["vand_robot"] = inner.read_text()
    inner.unlink()
    file.write_text(json.dumps(content))
    return what


def _damage_table(rng: np.random.Generator, file: Path) -> str:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pq.read_table(file)
    at = int(rng.integers(table.num_columns))
    name = table.column_names[at]
    rows = table.num_rows
    values: list[Any] = [
        pa.nulls(rows, table.schema.field(at).type),
        pa.array(["x"] * rows),
        pa.array([10**18] * rows),
        pa.array([float("nan")] * rows),
        pa.array([[1.0]] * rows),
        pa.array([b"\x89PNG\r\n\x1a\n"] * rows),
        pa.array(['{"name": 3}'] * rows),
    ]
    which = int(rng.integers(len(values) + 3))
    if which < len(values):
        table = table.set_column(at, name, values[which])
    elif which == len(values):
        table = table.drop_columns([name])
    elif which == len(values) + 1:
        table = table.slice(0, int(rng.integers(0, rows)))
    else:
        # a run of equal rows takes next to nothing in the file
        block = pa.table({name: pa.array(np.zeros(10**6, np.int64)) for name in table.column_names})
        with pq.ParquetWriter(file, block.schema) as writer:
            for _ in range(int(rng.choice([2, 200]))):
                writer.write_table(block)
        return f"{file.name}: {name}: rows of zeros"
    pq.write_table(table, file)
    return f"{file.name}: {name}: {which}"


def _damage_arrays(rng: np.random.Generator, file: Path) -> str:
    with h5py.File(file, "r+") as content:
        arrays: list[str] = []
        content.visititems(
            lambda path, item: arrays.append(path) if isinstance(item, h5py.Dataset) else None
        )
        path = arrays[int(rng.integers(len(arrays)))]
        which = int(rng.integers(8))
        rows = content[path].shape[0] if content[path].shape else 1
        del content[path]
        changes: list[Callable[[], Any]] = [
            lambda: content.create_dataset(path, shape=(rows, 10**11), dtype="f4", chunks=(1, 10)),
            lambda: content.create_dataset(
                path, shape=(rows, 10**8), dtype="f4", chunks=(rows, 9 * 10**7)
            ),
            lambda: content.create_dataset(
                path, shape=(10**8,), dtype="f4", chunks=(10**6,), compression="gzip"
            ),
            lambda: content.create_dataset(path, data=b"x"),
            lambda: content.create_dataset(path, data=np.full((rows, 3), np.nan)),
            lambda: content.create_group(path),
            lambda: content.__setitem__(path, h5py.SoftLink(f"/{path}")),
            lambda: content["episode_0"].attrs.__setitem__("vand_robot", "{}"),
        ]
        changes[which]()
    return f"{file.name}: {path}: {which}"


_KINDS: Mapping[str, Callable[[np.random.Generator, Sound, Path], Damaged]] = {
    "checkpoint": _checkpoint,
    "run": _run,
    "results": _results,
    "yaml": _yaml,
    "lerobot": _folder("lerobot"),
    "minari": _folder("minari"),
    "others": _others,
}
