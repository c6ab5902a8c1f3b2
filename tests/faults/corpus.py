"""Some 2,000 ways to damage everything that a command reads."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.faults import experiments, others, policies, studies, unlike
from tests.faults.exports import export_of, imported
from tests.faults.robots import robots
from tests.faults.runs import checkpoint, training_run
from tests.faults.sound import Damaged, Sound
from tests.faults.texts import devices, results, yaml

SEED = 15
COUNTS: Mapping[str, int] = {
    "checkpoint": 300,
    "run": 160,
    "results": 180,
    "yaml": 160,
    "lerobot": 100,
    "minari": 100,
    "imported": 100,
}
"""Kind -> number of damaged inputs; with the 200 data sets of `datasets` more than a thousand."""


LATER: Mapping[str, int] = {
    "robots": 80,
    "onnx": 60,
    "message": 50,
    "answered": 30,
    "mapping": 40,
    "sweeps": 40,
    "language": 40,
    "pulled": 40,
    "data sets": 80,
    "written": 40,
    "shards": 40,
    "trials": 40,
    "tables": 40,
    "collected": 30,
    "devices": 40,
}
"""Kinds of doors that were made later."""


def cases() -> Iterator[tuple[str, int]]:
    """Every damaged input: kind and index."""
    counts = {**COUNTS, **others.COUNTS, **LATER}
    return ((kind, index) for kind, count in counts.items() for index in range(count))


def damage(kind: str, index: int, sound: Sound, folder: Path, seed: int = SEED) -> Damaged:
    """Makes the damaged input of a kind and index in an empty folder."""
    kinds = {**_KINDS, **others.KINDS, **_LATER}
    rng = np.random.default_rng([seed, list(kinds).index(kind), index])
    return kinds[kind](rng, sound, folder)


_KINDS: Mapping[str, Callable[[np.random.Generator, Sound, Path], Damaged]] = {
    "checkpoint": checkpoint,
    "run": training_run,
    "results": results,
    "yaml": yaml,
    "lerobot": export_of("lerobot"),
    "minari": export_of("minari"),
    "imported": imported,
}

_LATER: Mapping[str, Callable[[np.random.Generator, Sound, Path], Damaged]] = {
    "robots": robots,
    "onnx": policies.onnx_file,
    "message": policies.message,
    "answered": policies.answered,
    "mapping": policies.mapping,
    "sweeps": studies.sweeps,
    "language": studies.language,
    "pulled": studies.pulled,
    "data sets": unlike.data_sets,
    "written": unlike.written,
    "shards": experiments.shards,
    "trials": experiments.trials,
    "tables": experiments.tables,
    "collected": experiments.collected,
    "devices": devices,
}
