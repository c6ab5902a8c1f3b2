"""What many demonstrations cost: `python -m tests.benchmarks.data [EPISODES]`.

Processor time for each episode of a small and of a large set (the shipped data set over and over):
what grows faster than the data shows as a ratio above 1. Beside it, what h5py takes to read the
same arrays without any check, and a batch that is streamed, over one in memory.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from tests.helpers.large import write_copies
from vand_demos import DemoDataset
from vand_demos.storage.describe import describe
from vand_demos.storage.editing import split
from vand_robot.config.loading import load_config
from vand_robot.data.loading import load_data
from vand_robot.evaluation.reference import references_from_datasets

SHIPPED = Path("demos/data/workshop.hdf5")
EPISODES = 640
"""Of the large set; the small one has a fourth of them."""
BATCHES = 20


def main() -> None:
    """Prints one line for each piece of work."""
    torch.set_num_threads(1)
    large = int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES
    with tempfile.TemporaryDirectory() as folder:
        files = {count: Path(folder) / f"{count}.hdf5" for count in (large // 4, large)}
        for count, path in files.items():
            write_copies(path, SHIPPED, count)
        load_config(None, [f"data=[{files[large]}]"])  # imports are not counted
        print(f"processor time per episode [ms], of {large // 4} and of {large} episodes")
        for name, work in _WORKS.items():
            small, big = (_seconds(work, path) / count for count, path in files.items())
            print(f"  {name:36}: {1000 * small:6.2f} {1000 * big:6.2f}, ratio {big / small:.2f}")
        _batches(files[large])
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  most memory of all that              : {peak_gb:6.2f} GiB")


def _raw(path: Path) -> None:
    """Read what a policy learns from with h5py alone."""
    with h5py.File(path, "r") as file:
        for demo in file["data"].values():
            for array in (demo["actions"], *demo["obs"].values()):
                array[()]


def _load(path: Path, stream: str) -> None:
    load_data(load_config(None, [f"data=[{path}]", f"stream={stream}"])).close()


def _look(path: Path) -> None:
    with DemoDataset.open(path) as dataset:
        for name in dataset.names:
            for key in ("task", "success", "uid", "num_samples"):
                dataset.attribute(name, key)


_WORKS: dict[str, Callable[[Path], object]] = {
    "open, and look at every attribute": _look,
    "describe (demos info)": describe,
    "split": split,
    "references (what tasks are judged by)": lambda path: references_from_datasets([path]),
    "load into memory": lambda path: _load(path, "false"),
    "prepare for streaming": lambda path: _load(path, "true"),
    "h5py alone, the same arrays": _raw,
}


def _seconds(work: Callable[[Path], object], path: Path) -> float:
    """Processor time of this process and those that it starts [s]."""
    began = _spent()
    work(path)
    return _spent() - began


def _spent() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + of_children.ru_utime + of_children.ru_stime


def _batches(path: Path) -> None:
    """Compare batches that are read from the file with those in memory."""
    seconds = {}
    for stream in ("false", "true"):
        data = load_data(load_config(None, [f"data=[{path}]", f"stream={stream}"]))
        began = time.process_time()
        for update in range(BATCHES):
            data.train.sample(24, np.random.default_rng(update))
        seconds[stream] = (time.process_time() - began) / BATCHES
        data.close()
    print(
        f"  a batch of 24 [ms], memory and streamed: {1000 * seconds['false']:.1f}"
        f" {1000 * seconds['true']:.1f} (read beside the update before it)"
    )


if __name__ == "__main__":
    main()
