"""Writes a data set in another project's format, and reads it back."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from vand_demos.episode import Episode
from vand_demos.interop.extras import Extras, new_folder
from vand_demos.storage.compatibility import require_env_args, require_fits, signature
from vand_demos.storage.layout import require_new
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

FORMATS = ("lerobot", "minari")
"""Formats that data sets are converted to and from."""

NATIVE = "robomimic"
"""Format whose layout ours is, so that nothing needs to be converted."""


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
    """Note on what readers of the format do not see; else empty."""


def export_dataset(path: str | Path, out: str | Path, format_name: str) -> Conversion:
    """Write a data set in another format, into a folder that appears whole or not at all.

    Args:
        path: The data set.
        out: The folder; for Minari its name is the data set's id, such as `wipe-v0`, and the
            folders between `MINARI_DATASETS_PATH` and it are its namespace.
        format_name: One of `FORMATS`.

    Raises:
        UsageError: No such file or format, the native format, or `out` exists.
        VandError: The data set is damaged, the format cannot hold it, a package is missing, or the
            disk is full.
    """
    converter = _converter(format_name, path)
    out = expanded(out)
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


def import_dataset(
    folder: str | Path, out: str | Path, format_name: str, *, overwrite: bool = False
) -> Conversion:
    """Read back what `export_dataset` wrote.

    Args:
        folder: The folder.
        out: The data set to write.
        format_name: One of `FORMATS`.
        overwrite: Whether to replace a data set that exists.

    Raises:
        UsageError: No such folder or format, the native format, or `out` exists.
        VandError: The folder is damaged or is not from here, a package is missing, or the disk is
            full.
    """
    converter = _converter(format_name, folder)
    folder, out = expanded(folder), file_path(out)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    extras: Extras = converter.read_extras(folder)
    require_env_args(str(folder), extras.env_args)
    with rewriting(out) as temporary:
        require_new(out, overwrite=overwrite)
        create(temporary, extras.env_args)
        names = append(temporary, _sources(converter.read(folder, extras), extras))
        if extras.masks:
            write_splits(temporary, extras.masks)
        with DemoDataset.open(temporary) as dataset:
            steps = dataset.total
    return Conversion(out, len(names), steps, "")


def _sources(episodes: Iterable[Episode], extras: Extras) -> Iterator[StoredEpisode]:
    """Episodes to be added to a data set, under their own names."""
    first: dict[str, str] = {}
    for episode in episodes:
        require_fits(episode, extras.env_args, first)
        first = first or signature(episode)
        image = encode_episode(episode, extras.env_args)
        yield replace(StoredEpisode.of_bytes(image), new_name=episode.name)


def _converter(format_name: str, path: str | Path) -> ModuleType:
    """The module of a format: `NOTE`, `write`, `read_extras` and `read`.

    Raises:
        UsageError: No such format, or the native one.
        VandError: A package that it needs is not installed.
    """
    if format_name == NATIVE:
        raise UsageError(
            f"robomimic's layout is the native one: {path} needs no conversion, and robomimic reads"
            f" what vand-robot records as it is"
        )
    if format_name not in FORMATS:
        raise unknown_name("format", format_name, FORMATS)
    try:
        return import_module(f"vand_demos.interop.{format_name}")
    except ModuleNotFoundError as error:
        raise VandError(
            f"the format {format_name!r} needs the package {error.name!r}:"
            f" pip install 'vand-robot[{format_name}]'"
        ) from error
