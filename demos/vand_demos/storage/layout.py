"""Names and limits of the HDF5 layout, and of the files beside a data set.

The layout is robomimic's, with attributes of ours beside it. Only this folder knows it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vand_demos.system.files import file_path, require_regular
from vand_envs.errors import UsageError

FORMAT = "vand-robot-demos"
FORMAT_VERSION = 2
"""2: an episode may have `step_tasks`, without which a reader would take all of it for its task;
files of version 1 are read as they are."""

PARTS_SUFFIX = ".parts"
"""`<name>.hdf5.parts/` holds the episodes that are not packed into `<name>.hdf5` yet."""

LIBVER = ("v110", "v110")
"""Written for HDF5 1.10 or newer: older structures cost 2.7 kB for every array, more than most
arrays of an episode hold."""

CHUNK_BYTES = 1 << 20
"""Chunks are whole steps, at most about this much before compression [bytes]."""

MAX_CHUNK_BYTES = 1 << 28
"""A declared chunk above this is refused: one is decompressed in memory at a time [bytes]."""

MAX_ARRAY_BYTES = 1 << 32
"""A declared array above this is refused [bytes]."""

MAX_EXPANSION = 1100
"""Deflate shrinks nothing by more than 1032: an array that declares more was never written."""

FREE_BYTES = 1 << 20
"""An array that declares less than this is read whatever it takes on the disk [bytes]."""

MAX_TEXT_BYTES = 1 << 26
"""A declared text above this is refused [bytes]."""

RESERVE_BYTES = 1 << 20
"""Room for names, masks and tables when a file is built, besides its episodes [bytes]."""

OBJECT_BYTES = 1 << 12
"""Room for the description of one array or group, well above what it takes [bytes]."""

BATCH_BYTES = 1 << 26
"""Episodes are added to a file under construction in batches of about this much [bytes]."""

IMAGE_AXES = 3
"""Axes of one step of an image observation, (H, W, 3); of any other it has one."""

DEMO_NAME = re.compile(r"demo_(0|[1-9][0-9]{0,8})")

TOP = ("data", "mask")
GROUPS = {"action_dict": "action_parts", "obs": "observations", "next_obs": "next_observations"}
ARRAYS = ("actions", "states", "rewards", "dones", "disturbed", "step_tasks")
OPTIONAL_ARRAYS = ("states", "disturbed", "step_tasks")
BOUNDS = ("action_low", "action_high")
"""Attributes of native actions, and keys of `env_kwargs`: a number for each of an action's."""
NUMBERS = ("seed", "success", "control_dt_s")
TEXTS = ("task", "instruction", "device", "action_mode", "model_file", "recorded_at", "uid")
ENV_KWARGS = ("robot", "scene", "action_mode", "control_dt_s", "instructions", *BOUNDS)


ATTRIBUTES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(TEXTS, (str,)),
    "seed": (int,),
    "success": (bool,),
    "control_dt_s": (float, int),
    "num_samples": (int,),
    "source": (str,),
}
"""Attribute of an episode -> the types that its value may have."""


def parts_folder(path: Path) -> Path:
    """Where the episodes of a data set wait until they are packed; also where its lock is."""
    return path.with_name(path.name + PARTS_SUFFIX)


def require_file(path: Path) -> None:
    """Check that there is a file to open.

    Raises:
        UsageError: There is none; the line tells whether episodes of it wait to be packed.
        VandError: It is a pipe, a device or a socket, from which reading may never return.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a data set")
    if not path.exists():
        waiting = len(part_files(path))
        hint = (
            f"; {waiting} recorded episodes wait to be packed: vand-robot demos repair {path}"
            if waiting
            else ""
        )
        raise UsageError(f"there is no data set {path}{hint}")
    require_regular(path)


_NAMED = 3
"""Files that a message names, where it is about many."""


def file_names(paths: Sequence[str | Path]) -> str:
    """Files for a message: the first few by their names, and how many more there are."""
    more = len(paths) - _NAMED
    named = ", ".join(map(str, paths[:_NAMED]))
    return f"{named} and {more} more" if more > 0 else named


def part_files(path: Path) -> list[Path]:
    """The part files of a data set, in the order of recording."""
    return sorted(part for part in parts_folder(path).glob("*.hdf5") if part.is_file())


def waiting_note(path: str | Path) -> str:
    """A line on the episodes that were recorded for a data set and are not in it; else empty."""
    path = file_path(path)
    waiting = len(part_files(path)) if path.is_file() else 0
    if not waiting:
        return ""
    return (
        f"note: {waiting} recorded episodes wait beside {path} and are not in it yet; unless"
        f" somebody is recording, run: vand-robot demos repair {path}"
    )


def part_uid(part: Path) -> str:
    """The identity of the episode in a part file, from its name `<number>-<uid>.hdf5`."""
    return part.stem.rpartition("-")[2]


def demo_number(name: str) -> int:
    """The number N of a demonstration called `demo_N`."""
    return int(name.removeprefix("demo_"))


def require_folder(path: Path) -> None:
    """Check that a file can be at a path.

    Raises:
        UsageError: There is no folder for it, or it is a folder itself.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a data set")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write {path.name} to")


def require_new(path: Path, *, overwrite: bool = False, resumable: bool = False) -> None:
    """Check that a data set may be begun at a path.

    Args:
        path: The data set.
        overwrite: Whether one that is there is replaced.
        resumable: Whether the command can go on with one, for the message.

    Raises:
        UsageError: There is one already, or episodes of one.
    """
    if path.exists() and not overwrite:
        resume = "--resume goes on with it, " if resumable else ""
        raise UsageError(f"{path} exists already; {resume}--force replaces it")
    if part_files(path):
        raise UsageError(
            f"{parts_folder(path)} holds recorded episodes that are not packed yet:"
            f" vand-robot demos repair {path}"
        )
