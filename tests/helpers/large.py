"""Data sets of many episodes, made fast: recorded ones over and over, each with a new identity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import h5py
import numpy as np

from vand_demos.storage.layout import LIBVER


def write_copies(
    path: Path,
    source: Path,
    count: int,
    splits: Mapping[str, Sequence[int]] | None = None,
    without: Sequence[str] = (),
) -> None:
    """Write a data set of `count` episodes, those of another one in turn.

    Args:
        path: The file.
        source: A data set.
        count: Number of episodes.
        splits: Split -> numbers of episodes.
        without: Groups and arrays that are left out, such as `"states"`.
    """
    with h5py.File(source, "r") as old, h5py.File(path, "w", libver=LIBVER) as new:
        for key, value in old.attrs.items():
            new.attrs[key] = value
        data = new.create_group("data")
        data.attrs["env_args"] = old["data"].attrs["env_args"]
        names = sorted(old["data"], key=lambda name: int(name.removeprefix("demo_")))
        for i in range(len(names)):  # what is left out leaves no gap in the copies
            old.copy(old["data"][names[i]], data, f"demo_{i}")
            for name in without:
                if name in data[f"demo_{i}"]:
                    del data[f"demo_{i}"][name]
            if i + 1 == count:
                break
        total = 0
        for i in range(count):
            if i >= len(names):
                h5py.h5o.copy(data.id, b"demo_%d" % (i % len(names)), data.id, b"demo_%d" % i)
            demo = data[f"demo_{i}"]
            demo.attrs.modify("uid", UUID(int=i + 1).hex)
            total += int(demo.attrs["num_samples"])
        data.attrs["total"] = total
        for split, numbers in (splits or {}).items():
            listed = np.array([f"demo_{i}" for i in numbers], "S16")
            new.create_dataset(f"mask/{split}", data=listed, track_times=False)
