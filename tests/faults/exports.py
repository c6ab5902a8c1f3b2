"""Damaged folders of other formats."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.damage import damage_bytes, damage_json, damage_text_inside, replace_file
from tests.faults.sound import Damaged, Sound, import_export


def export_of(form: str) -> Callable[[np.random.Generator, Sound, Path], Damaged]:
    def make(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
        copy = shutil.copytree(sound.exports[form], folder / "export-v0")
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        file = files[int(rng.integers(len(files)))]
        which = int(rng.integers(10))
        kind = {".json": damage_json, ".parquet": damage_table, ".hdf5": damage_arrays}
        if which < 6 and file.suffix in kind:
            what = kind[file.suffix](rng, file)
        elif which < 7 and form == "minari":
            what = damage_text_inside(rng, copy / "data" / "metadata.json")
        elif which < 7:
            what = damage_json(rng, copy / "vand_robot" / "dataset.json")
        else:
            what = [damage_bytes, replace_file][int(rng.integers(2))](rng, file)
        return Damaged(what, import_export(form, copy, folder))

    return make


FIXTURES = Path(__file__).parents[1] / "fixtures"
OTHERS = {
    "lerobot": FIXTURES / "lerobot_v3",
    "minari": FIXTURES / "minari/pendulum-v0",
    "robomimic": FIXTURES / "robomimic_pendulum.hdf5",
}
"""Format -> a set that its own project's code wrote."""


def imported(rng: np.random.Generator, _: Sound, folder: Path) -> Damaged:
    """A damaged set that others made."""
    form = list(OTHERS)[int(rng.integers(len(OTHERS)))]
    source = OTHERS[form]
    copy = folder / source.name
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
    files = sorted(p for p in copy.rglob("*") if p.is_file()) if source.is_dir() else [copy]
    file = files[int(rng.integers(len(files)))]
    kind = {".json": damage_json, ".parquet": damage_table}
    kind |= {".hdf5": damage_arrays} if form == "minari" else {}
    if int(rng.integers(10)) < 5 and file.suffix in kind:
        what = kind[file.suffix](rng, file)
    else:
        what = [damage_bytes, replace_file][int(rng.integers(2))](rng, file)
    rate = () if form == "lerobot" else ("--source-rate", "20")
    return Damaged(what, (*import_export(form, copy, folder), "--images", "all", *rate))


def damage_table(rng: np.random.Generator, file: Path) -> str:

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


def damage_arrays(rng: np.random.Generator, file: Path) -> str:
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
