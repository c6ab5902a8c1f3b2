"""Options of `vand-robot demos import`, and what is read from them."""

from pathlib import Path
from typing import Annotated

import typer

from vand_demos.interop.source import task_id
from vand_envs.errors import UsageError, VandError
from vand_robot.cli.options import names

ImportKeys = Annotated[
    str, typer.Option("--keys", help="Observations to take, KEY or KEY=NEW_NAME, by commas.")
]
ImportImages = Annotated[
    str, typer.Option("--images", help="Images to take, by commas, or all; default: none.")
]
ImportTasks = Annotated[
    list[str] | None,
    typer.Option("--tasks", help="Task to take, an id or an instruction; may be repeated."),
]
ImportInstruction = Annotated[
    str | None, typer.Option("--instruction", help="Instruction of every episode.")
]
ImportPhrasings = Annotated[
    Path | None,
    typer.Option("--phrasings", help="YAML file, task: [phrasings]; they become one task."),
]
ImportBounds = Annotated[
    str,
    typer.Option(
        "--bounds", help="Bounds of the actions in their units: LOW:HIGH, or one of each."
    ),
]
ImportRate = Annotated[
    float | None, typer.Option("--rate", help="Resample to this control rate [Hz].")
]
SourceRate = Annotated[
    float | None,
    typer.Option("--source-rate", help="Control rate of a source that is silent [Hz]."),
]


def parse_bounds(text: str) -> tuple[tuple[float, float], ...]:
    """The bounds in `"-180:180,0:1"`.

    Raises:
        UsageError: A pair is none of numbers.
    """
    pairs = []
    for word in names(text):
        low, mark, high = word.partition(":")
        try:
            pairs.append((float(low), float(high if mark else "none")))
        except ValueError:
            raise UsageError(f"bounds: expected LOW:HIGH, got {word!r}") from None
    return tuple(pairs)


def parse_keys(text: str) -> dict[str, str]:
    """The observations in `"ee_pos,joints=q"`: name in the source -> name here.

    Raises:
        UsageError: A name is empty.
    """
    found: dict[str, str] = {}
    for word in names(text):
        key, mark, new = (part.strip() for part in word.partition("="))
        if not key or (mark and not new):
            raise UsageError(f"keys: expected KEY or KEY=NEW_NAME, got {word!r}")
        found[key] = new or key
    return found


def read_phrasings(path: Path) -> dict[str, str]:
    """The phrasings in a YAML file, each with the id of its task.

    Raises:
        VandError: The file cannot be read, or holds something else.
    """
    from vand_robot.config.loading import read_yaml  # noqa: PLC0415  (torch takes a second)

    found: dict[str, str] = {}
    for task, texts in read_yaml(path).items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise VandError(f"{path}: {task}: expected a list of texts, got {texts!r:.60}")
        found |= dict.fromkeys(texts, task_id(str(task)))
    return found
