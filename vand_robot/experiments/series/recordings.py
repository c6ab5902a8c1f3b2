"""Recordings of quasi-periodic motions, by signal and by person."""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np

from vand_demos.system.files import library_errors, read_regular, write_bytes
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError
from vand_envs.typing import FloatArray

EXERCISES = {
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward-elevation",
    "IR": "internal-rotation",
    "ER": "external-rotation",
    "TRAP": "trapezius-extension",
    "ROW": "upright-row",
}
"""Label in the data set -> name of the exercise (Burns et al. 2018, arXiv:1802.01489)."""

PULSE = "pulse"
"""Name of the pulse."""

SIGNALS = (*EXERCISES.values(), PULSE)
"""All signals."""


@dataclass(frozen=True)
class Split:
    """Who is trained on, who settings are chosen on, and who is judged."""

    train: tuple[int, ...]
    tuning: tuple[int, ...]
    test: tuple[int, ...]

    def of(self, people: str) -> tuple[int, ...]:
        """Numbers of the people of a part: "train", "tuning" or "test"."""
        return {"train": self.train, "tuning": self.tuning, "test": self.test}[people]


SPLITS: Mapping[str, Split] = {
    **dict.fromkeys(EXERCISES.values(), Split((1, 2, 3, 4, 5), (6, 7), (8, 9, 10))),
    PULSE: Split((3,), (1,), (2,)),
}
"""Signal -> its people, by their numbers; of the pulse the numbers of its three recordings, whose
longest one is trained on."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording of one person."""

    signal: str
    """Name of the signal."""
    person: int
    """Number of the person."""
    dt_s: float
    """Time between two points [s]."""
    points: FloatArray
    """(T, C), at least two points."""

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or len(self.points) < 2 or not np.isfinite(self.points).all():
            raise VandError(
                f"a recording of {self.signal}: expected finite numbers (T, C) with T > 1,"
                f" got {self.points.shape}"
            )
        if not 0 < self.dt_s < 1e3:
            raise VandError(f"a recording of {self.signal}: expected dt_s > 0, got {self.dt_s}")


def write_recordings(file: Path, recordings: Sequence[Recording]) -> None:
    """Write recordings to a numpy archive.

    Raises:
        VandError: The disk is full or fails.
    """
    arrays = {f"points_{i}": recording.points for i, recording in enumerate(recordings)}
    target = BytesIO()
    np.savez_compressed(
        target,
        signal=np.array([recording.signal for recording in recordings]),
        person=np.array([recording.person for recording in recordings]),
        dt_s=np.array([recording.dt_s for recording in recordings]),
        **arrays,  # type: ignore[arg-type]  # numpy's stub has an option of that kind of name
    )
    write_bytes(file, target.getvalue())


def read_recordings(file: Path) -> list[Recording]:
    """Read what `write_recordings` wrote; nothing in the file is run.

    Raises:
        VandError: It is damaged, too large, or something else.
    """
    content = read_regular(file)
    with library_errors("read", file, "numpy", "zipfile"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            require_room(str(file), sum(entry.file_size for entry in archive.infolist()))
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    try:
        columns = [arrays[name] for name in ("signal", "person", "dt_s")]
        points = [arrays[f"points_{i}"] for i in range(len(columns[0]))]
    except (KeyError, TypeError) as error:
        raise VandError(f"{file}: expected recordings; {error} is missing") from None
    kinds = [column.dtype.kind for column in columns]
    if kinds != ["U", "i", "f"] or any(p.dtype.kind != "f" for p in points):
        raise VandError(f"{file}: expected names, numbers and points, got types {kinds}")
    if any(column.shape != (len(points),) for column in columns):
        raise VandError(f"{file}: expected a name, a number and a time step for each recording")
    return [
        Recording(str(signal), int(person), float(dt_s), np.asarray(array, np.float64))
        for signal, person, dt_s, array in zip(*columns, points, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class SignalData:
    """What is recorded of one signal, each channel with mean 0 and deviation 1 in training."""

    dt_s: float
    """Time between two points [s]."""
    train: tuple[FloatArray, ...]
    """(T, C) each, of the people trained on."""
    tuning: tuple[FloatArray, ...]
    """Of the people whom settings are chosen on."""
    test: tuple[FloatArray, ...]
    """Of the people who are judged."""

    @property
    def channels(self) -> int:
        """C."""
        return int(self.train[0].shape[1])

    def of(self, people: str) -> tuple[FloatArray, ...]:
        """The recordings of a part: "train", "tuning" or "test"."""
        return {"train": self.train, "tuning": self.tuning, "test": self.test}[people]


def fingerprint(recordings: Iterable[Recording]) -> str:
    """A hash of recordings."""
    digest = sha256()
    for recording in recordings:
        digest.update(f"{recording.signal} {recording.person} {recording.dt_s}".encode())
        digest.update(np.ascontiguousarray(recording.points, np.float64).tobytes())
    return digest.hexdigest()[:16]


@cache
def signal_data(file: Path, signal: str) -> SignalData:
    """The recordings of a signal in a file; read once in a process.

    Raises:
        VandError: The file cannot be read, or somebody has no recording of it.
    """
    found = [recording for recording in read_recordings(file) if recording.signal == signal]
    split = SPLITS[signal]
    parts = {
        people: [r for r in found if r.person in split.of(people)]
        for people in ("train", "tuning", "test")
    }
    for people, some in parts.items():
        if not some:
            raise VandError(f"{file}: no recording of {signal} by those of {people}")
    steps = {(recording.dt_s, recording.points.shape[1]) for recording in found}
    if len(steps) != 1:
        raise VandError(f"{file}: {signal}: expected one time step and one width, got {steps}")
    joined = np.concatenate([recording.points for recording in parts["train"]])
    mean, spread = joined.mean(axis=0), np.maximum(joined.std(axis=0), 1e-9)
    scaled = {
        people: tuple((recording.points - mean) / spread for recording in some)
        for people, some in parts.items()
    }
    return SignalData(found[0].dt_s, **scaled)
