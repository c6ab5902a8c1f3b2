"""Registries: names of things to the things, those of plugins included.

A plugin is a Python module that registers tasks, experts, devices, robots, regularizers or trackers
when it is imported. It is found by an entry point of an installed package, in a group of `GROUPS`,
or by its name (`load_plugins`, `--plugin`, or the variable `VAND_PLUGINS`).
"""

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from vand_envs.errors import UsageError, VandError, in_words, unknown_name

Item = TypeVar("Item")

PLUGINS_VARIABLE = "VAND_PLUGINS"
"""Environment variable with the modules of plugins, with commas between. `load_plugins` writes it,
so that processes started later load them as well."""

KINDS = ("tasks", "experts", "devices", "robots", "regularizers", "trackers")
"""Kinds of things that a plugin can register."""

GROUPS = tuple(f"vand_robot.{kind}" for kind in KINDS)
"""Groups of entry points; each names a module."""

_loaded: set[str] = set()
"""Plugins that were loaded, or are being loaded."""


class Registry(Generic[Item]):
    """Name -> item. Plugins are loaded before it is first read.

    The built-in items come first, in the order in which they are registered; then those of plugins,
    by name. So the order does not depend on who imported what.

    Args:
        kind: What the items are, for messages: "task".
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._items: dict[str, Item] = {}
        self._built_in: tuple[str, ...] | None = None

    def add(self, name: str, item: Item) -> None:
        """Register an item.

        Raises:
            UsageError: The name is taken.
        """
        if name in self._items:
            raise UsageError(f"{self._kind} {name!r} is registered already")
        self._items[name] = item

    def seal(self) -> None:
        """Say that all built-in items are there: whatever comes later is a plugin's."""
        self._built_in = tuple(self._items)

    def __getitem__(self, name: str) -> Item:
        """The item of that name.

        Raises:
            UsageError: There is none; the message names the nearest.
        """
        if name not in self._items:
            load_all_plugins()
        if name not in self._items:
            raise unknown_name(self._kind, name, self)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def __iter__(self) -> Iterator[str]:
        load_all_plugins()
        first = self._built_in or ()
        return iter((*first, *sorted(self._items.keys() - set(first))))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules that register tasks, experts and so on; one that was loaded is left alone.

    They are looked for where Python looks for modules, then in the current folder.

    Args:
        modules: Names of modules, such as `drop_cube` or `my_package.tasks`.

    Raises:
        UsageError: There is no such module.
        VandError: Importing it fails.
    """
    names = [name.strip() for name in modules]
    wanted = [name for name in dict.fromkeys(names) if name]
    if not wanted:
        return
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109  (text, as in sys.path)
        sys.path.append(os.getcwd())  # noqa: PTH109
    for name in wanted:
        if name not in _loaded:
            _load(name, f"plugin {name!r}")
    known = [name for name in os.environ.get(PLUGINS_VARIABLE, "").split(",") if name]
    os.environ[PLUGINS_VARIABLE] = ",".join(dict.fromkeys((*known, *wanted)))


def load_all_plugins() -> None:
    """Load the plugins of installed packages, and those that `VAND_PLUGINS` names, once each.

    Raises:
        UsageError: There is no such module.
        VandError: Importing one fails.
    """
    if "installed" not in _loaded:
        _loaded.add("installed")
        for group in GROUPS:
            for point in sorted(entry_points(group=group)):
                if point.module not in _loaded:
                    _load(point.module, f"plugin {point.name!r}{_origin(point)}")
    if any(name not in _loaded for name in _named()):
        load_plugins(_named())


def _named() -> list[str]:
    """Modules that the environment variable names."""
    named = os.environ.get(PLUGINS_VARIABLE, "").split(",")
    return [name.strip() for name in named if name.strip()]


def _load(name: str, what: str) -> None:
    _loaded.add(name)  # before it is imported: it may read a registry itself
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        _loaded.discard(name)
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise UsageError(f"{what}: there is no module {error.name!r}") from None
        raise VandError(f"{what}: {error}") from error
    except (VandError, KeyboardInterrupt):
        _loaded.discard(name)
        raise
    except BaseException as error:  # whatever a module raises while it is imported
        _loaded.discard(name)
        raise VandError(f"{what}: {in_words(error)}") from error


def _origin(point: EntryPoint) -> str:
    return "" if point.dist is None else f" of {point.dist.name}"
