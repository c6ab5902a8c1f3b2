"""Writes a data set in another project's format, and reads it back."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from vand_demos.episode import Episode
from vand_demos.interop import robomimic
from vand_demos.interop.deployment import RECORDING, import_recording
from vand_demos.interop.extras import Extras, new_folder
from vand_demos.interop.intake import take_in
from vand_demos.interop.source import ImportOptions
from vand_demos.storage.compatibility import require_env_args, require_fits, signature
from vand_demos.storage.layout import require_file, require_new
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.writer import (
    StoredEpisode,
    append,
    create,
    encode_episode,
    rewriting,
    write_splits,
)
from vand_demos.system.files import expanded, file_path, is_full
from vand_demos.system.isolation import LostProcessError
from vand_envs.errors import UsageError, VandError, unknown_name

FORMATS = ("lerobot", "minari", "robomimic")
"""Formats that data sets are converted to and from."""

ONE_FILE = "robomimic"
"""Format that is one file."""

FOLDERS = tuple(name for name in FORMATS if name != ONE_FILE)
"""Formats that are folders."""


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion."""

    out: Path
    """The file or folder."""
    episodes: int
    """Episodes in it."""
    steps: int
    """Steps of all of them."""
    note: str
    """Note on what readers of the format do not see, or on how it was understood; else empty."""


def export_dataset(path: str | Path, out: str | Path, format_name: str) -> Conversion:
    """Write a data set in another format, into a file or folder that appears whole or not at all.

    Args:
        path: The data set.
        out: The folder, of robomimic the file; for Minari its name is the data set's id, such as
            `wipe-v0`, and the folders between `MINARI_DATASETS_PATH` and it are its namespace.
        format_name: One of `FORMATS`.

    Raises:
        UsageError: No such file or format, or `out` exists.
        VandError: The data set is damaged, the format cannot hold it, a package is missing, or the
            disk is full.
    """
    converter = _converter(format_name)
    out = expanded(out)
    if format_name == ONE_FILE:
        return _export_file(file_path(path), file_path(out))
    with DemoDataset.open(path, guarded=True) as dataset:
        if not dataset.names:
            raise VandError(f"{path}: the data set is empty")
        with new_folder(out, "h5py", "minari", "pyarrow", "imageio", "PIL") as folder:
            try:  # Minari joins relative paths twice
                converter.write(dataset, folder.resolve(), _name(out))
            except LostProcessError as error:
                why = f"the process that does it {error}; is the disk full?"
                why = "the disk is full" if is_full(folder) else why
                raise VandError(f"cannot write {out}: {why}") from error
        return Conversion(out, len(dataset), dataset.total, str(converter.NOTE))


def _name(out: Path) -> str:
    """The id of an exported data set: with Minari's namespace, where its root is known."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    if root and out.resolve().is_relative_to(Path(root).resolve()):
        return out.resolve().relative_to(Path(root).resolve()).as_posix()
    return out.name


def _export_file(path: Path, out: Path) -> Conversion:
    """Write a data set as one file of robomimic's."""
    with DemoDataset.open(path, guarded=True) as dataset:
        if not dataset.names:
            raise VandError(f"{path}: the data set is empty")
        episodes, steps = len(dataset), dataset.total
    with rewriting(out) as temporary:
        require_new(out)
        note = robomimic.write_copy(path, temporary)
    return Conversion(out, episodes, steps, note)


def import_dataset(
    source: str | Path,
    out: str | Path,
    format_name: str,
    options: ImportOptions | None = None,
    *,
    overwrite: bool = False,
) -> Conversion:
    """Read a data set in another format: one that others made, or what `export_dataset` wrote.

    What we exported comes back exactly as it was, and nothing of it can be chosen. Of what others
    made, the names of observations stay, actions are mapped to [-1, 1] by bounds that are stored
    (`Episode.native_actions` are in their own units), and what is not there is unknown.

    Args:
        source: The file or folder.
        out: The data set to write.
        format_name: One of `FORMATS`, or `RECORDING`.
        options: What is chosen of a data set of others; all by default.
        overwrite: Whether to replace a data set that exists.

    Raises:
        UsageError: No such file, format, observation or task; a rate that is not known; choices in
            what we exported; or `out` exists.
        VandError: The source is damaged or of another version, a package is missing, or the disk
            is full.
    """
    if format_name == RECORDING:
        return Conversion(file_path(out), *import_recording(source, out, overwrite=overwrite), "")
    converter = _converter(format_name)
    source, out = expanded(source), file_path(out)
    _require_there(source, format_name)
    chosen = options or ImportOptions()
    if not converter.is_ours(source):
        with converter.open_source(source) as foreign:
            episodes, steps, notes = take_in(foreign, out, chosen, overwrite=overwrite)
        return Conversion(out, episodes, steps, "; ".join(notes))
    if chosen.chooses:
        raise UsageError(
            f"{source} was exported by vand-robot, so all of it comes back; choose afterwards, by"
            " demos filter"
        )
    with rewriting(out) as temporary:
        require_new(out, overwrite=overwrite)
        if format_name == ONE_FILE:
            robomimic.restore(source, temporary)
        else:
            _restore(converter, source, temporary)
        with DemoDataset.open(temporary, guarded=True) as dataset:
            return Conversion(out, len(dataset), dataset.total, "")


def _require_there(source: Path, format_name: str) -> None:
    if format_name == ONE_FILE:
        require_file(source)
    elif not source.is_dir():
        raise UsageError(f"there is no folder {source}")


def _restore(converter: ModuleType, folder: Path, temporary: Path) -> None:
    """Builds at a temporary path the data set that was exported to a folder."""
    extras: Extras = converter.read_extras(folder)
    require_env_args(str(folder), extras.env_args)
    create(temporary, extras.env_args)
    append(temporary, _sources(converter.read(folder, extras), extras))
    if extras.masks:
        write_splits(temporary, extras.masks)


def _sources(episodes: Iterable[Episode], extras: Extras) -> Iterator[StoredEpisode]:
    """Episodes to be added to a data set, under their own names."""
    first: dict[str, str] = {}
    for episode in episodes:
        require_fits(episode, extras.env_args, first)
        first = first or signature(episode)
        image = encode_episode(episode, extras.env_args)
        yield replace(StoredEpisode.of_bytes(image), new_name=episode.name)


def _converter(format_name: str) -> ModuleType:
    """The module of a format: `NOTE`, `write`, `is_ours`, `open_source`, `read_extras`, `read`.

    Raises:
        UsageError: No such format.
        VandError: A package that it needs is not installed.
    """
    if format_name not in FORMATS:
        raise unknown_name("format", format_name, (*FORMATS, RECORDING))
    try:
        return import_module(f"vand_demos.interop.{format_name}")
    except ModuleNotFoundError as error:
        raise VandError(
            f"the format {format_name!r} needs the package {error.name!r}:"
            f" pip install 'vand-robot[{format_name}]'"
        ) from error
