"""Sizes that files of other formats declare, counted before memory is asked for."""

import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from vand_demos import DemoDataset, write_dataset
from vand_demos.system.limits import VARIABLE
from vand_envs.errors import VandError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from vand_demos.interop import columns  # noqa: E402  (it needs pyarrow)


def picture(width: int, height: int) -> bytes:
    """A PNG that declares a size, and holds a pixel."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(4))), (b"IEND", b""))
    sized = ((kind + content, len(content)) for kind, content in parts)
    chunks = (
        struct.pack(">I", n) + body + struct.pack(">I", zlib.crc32(body)) for body, n in sized
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_table_of_many_equal_rows_is_counted_by_its_rows(tmp_path: Path, monkeypatch):
    file = tmp_path / "rows.parquet"
    block = pa.table({"x": pa.array(np.zeros(10**6, np.int64))})
    with pq.ParquetWriter(file, block.schema) as writer:
        for _ in range(20):
            writer.write_table(block)
    assert file.stat().st_size < 100_000
    columns.require_small_table(file)
    monkeypatch.setenv(VARIABLE, str(10**8))
    with pytest.raises(VandError, match=r"rows\.parquet: expected at most 100 MB in memory, got"):
        columns.require_small_table(file)


@pytest.mark.parametrize("size", [(12_000, 12_000), (8, 2**31 - 1), (2**31 - 1, 1), (9, 8)])
def test_a_picture_that_declares_another_size_is_not_unpacked(size, monkeypatch):
    def never(*_, **__):
        raise AssertionError("it was unpacked")

    column = pa.chunked_array([pa.array([{"bytes": picture(*size), "path": None}])])
    monkeypatch.setattr(columns.iio, "imread", never)
    with pytest.raises(VandError, match=rf"{size[0]}"):
        columns.decode_images(column, (8, 8, 3))


@pytest.mark.parametrize("chunk", [4 * 10**7, 9 * 10**7])
def test_a_chunk_that_declares_gigabytes_is_not_read(tmp_path: Path, chunk: int, monkeypatch):
    """HDF5 unpacks whole chunks, however little of one holds numbers."""
    path = tmp_path / "a.hdf5"
    write_dataset(path, [episode(0)], ENV_ARGS)
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_0"]
        steps = int(demo.attrs["num_samples"])
        del demo["rewards"]
        shape, chunks = (steps, 2 * chunk), (steps, chunk)
        demo.create_dataset("rewards", shape, "f4", chunks=chunks, compression="gzip")
    for limit in (1 << 30, 10**18):  # HDF5's own bound of a chunk is no matter of the limit
        monkeypatch.setenv(VARIABLE, str(limit))
        with DemoDataset.open(path) as dataset, pytest.raises(VandError, match="too much to read"):
            dataset.episode("demo_0")
