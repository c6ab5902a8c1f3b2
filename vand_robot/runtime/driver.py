"""Drivers: the one file between the real-time loop and a robot."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import (
    FOREIGN_ERRORS,
    PolicyError,
    PolicyUsageError,
    gist,
    in_words,
    unknown_name,
)
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.policy import Observation
from vand_robot.runtime.words import keyword_arguments

STAMP = "stamp_s"
"""Key of an observation that says when it was made, by `time.monotonic` [s]; it may be absent."""

SHIPPED: Mapping[str, str] = {
    "simulation": "vand_robot.runtime.drivers.simulation",
    "gymnasium": "vand_robot.runtime.drivers.gymnasium_env",
    "ros2": "vand_robot.runtime.drivers.ros2",
    "socket": "vand_robot.runtime.drivers.tcp_robot",
}
"""Drivers that ship: name -> module. What follows `NAME:` is the first argument."""


class Driver(Protocol):
    """A robot, as the real-time loop sees it: a class in one file, `Driver`.

    More is read where a driver has it: the attribute `control_dt_s`, the only time between two
    actions that it can take [s]; the attribute `success`, whether the episode went well; and the
    method `extras`, a mapping of what a recording shall hold beside observations and actions.
    """

    def connect(self, interface: Interface, instruction: str | None) -> None:
        """Connect, and check that the robot is the one that the policy was trained for."""
        ...

    def observe(self) -> Observation | None:
        """The latest observation, within a period; None where the episode is over."""
        ...

    def act(self, action: NDArray[np.float32]) -> None:
        """Send an action (A,) to the robot; it holds until the next one."""
        ...

    def stop(self) -> None:
        """Bring the robot to rest, whatever happened; called once, always."""
        ...


def make_driver(name: str, arguments: Sequence[str] = ()) -> Driver:
    """Make a driver.

    Args:
        name: One of `SHIPPED`, with `:ARGUMENT` behind it where it takes one
            (`gymnasium:CartPole-v1`); a file, `my_robot.py`; or `module:Class`.
        arguments: `key=value` for its constructor; values are JSON, or else text.

    Raises:
        PolicyUsageError: There is no such driver, or an argument is none of its.
        PolicyError: Its file or something that it needs cannot be imported.
    """
    options = keyword_arguments("driver argument", arguments)
    kind, _, rest = name.partition(":")
    if kind in SHIPPED:
        make = _class_of(_imported(kind, lambda: importlib.import_module(SHIPPED[kind])), "Driver")
        positional = [rest] if rest else []
    elif name.endswith(".py"):
        make, positional = _class_of(_from_file(Path(name)), "Driver"), []
    elif rest:
        module = _imported(name, lambda: importlib.import_module(kind))
        make, positional = _class_of(module, rest), []
    else:
        raise unknown_name("driver", name, [*SHIPPED, "FILE.py", "MODULE:CLASS"])
    try:
        driver: Driver = make(*positional, **options)
    except PolicyError:
        raise
    except TypeError as error:
        raise PolicyUsageError(f"driver {name}: {gist(error)}") from None
    except FOREIGN_ERRORS as error:
        raise PolicyError(f"driver {name}: {in_words(error)}") from error
    for method in ("connect", "observe", "act", "stop"):
        if not callable(getattr(driver, method, None)):
            raise PolicyUsageError(f"driver {name}: it has no method {method!r}")
    return driver


def _imported(name: str, load: Callable[[], Any]) -> Any:
    """A module; whatever keeps it from being imported is one line."""
    try:
        return load()
    except FOREIGN_ERRORS as error:
        raise PolicyError(f"driver {name}: cannot be imported: {in_words(error)}") from error


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise PolicyUsageError(f"no driver: {path} does not exist")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PolicyUsageError(f"{path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    _imported(str(path), lambda: loader.exec_module(module))
    return module


def _class_of(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        raise PolicyUsageError(f"driver: {module.__name__} has no class {name!r}")
    return getattr(module, name)
