"""The schema of a table of language models: methods, their settings, and seeds."""

import shlex
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Annotated

from vand_envs.errors import UsageError, did_you_mean, unknown_name
from vand_envs.seeds import MAX_TRAINING_SEED
from vand_robot.config.loading import read_yaml
from vand_robot.config.validation import build, to_dict
from vand_robot.experiments.language.config import LanguageConfig, load_language_config
from vand_robot.nn import Range

READY_MADE = Path(__file__).with_name("tables")
"""Folder of the ready-made tables."""

Seed = Annotated[int, Range(0, MAX_TRAINING_SEED, open_high=False)]
"""Seed of a run."""


@dataclass(frozen=True)
class TableMethod:
    """A row of the table."""

    name: str
    """Its name."""
    set: str = ""
    """What it changes in the configuration, words `key=value`."""
    settings: tuple[str, ...] = ("",)
    """Further words to choose from, by the validation text and the first seed: the search."""
    compared: bool = False
    """Whether the chosen setting is trained with all seeds; otherwise with the first one alone."""


@dataclass(frozen=True)
class TableConfig:
    """A table of language models."""

    methods: tuple[TableMethod, ...]
    """Its rows."""
    config: str = "noisin-small"
    """Configuration that all start from, a file or the name of a ready-made one."""
    set: str = ""
    """What all change in it, words `key=value`."""
    seeds: tuple[Seed, ...] = (1111, 1112, 1113)
    """Seeds; the first one is for the search, too."""
    drawn: tuple[str, ...] = ()
    """Methods whose perplexities are drawn by epoch."""

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) < len(names):
            raise UsageError(
                f"methods: expected names, each once; got {', '.join(names) or 'none'}"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"seeds: expected numbers, each once; got {self.seeds}")
        for name in self.drawn:
            if name not in names:
                raise unknown_name("method in `drawn`:", name, names)
        for method in self.methods:
            if not method.settings:
                raise UsageError(f"{method.name}: settings: expected at least one, got none")


@dataclass(frozen=True)
class LanguageTrial:
    """One model of the table."""

    method: str
    """Name of the row."""
    setting: str
    """The words that were chosen from."""
    config: LanguageConfig
    """The run."""

    @property
    def key(self) -> str:
        """Name of its folder: readable, and another one for another configuration."""
        plain = "".join(c if c.isalnum() else "-" for c in self.method.lower()).strip("-")
        settings = {k: v for k, v in to_dict(self.config).items() if k != "threads"}
        digest = sha256(dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        return f"{plain}-{self.config.seed}-{digest}"


def trials_of(
    table: TableConfig, method: TableMethod, setting: str, seeds: tuple[int, ...]
) -> list[LanguageTrial]:
    """The trials of a setting of a method.

    Raises:
        UsageError: A word names no key, or a wrong value.
    """
    words = [*shlex.split(table.set), *shlex.split(method.set), *shlex.split(setting)]
    return [
        LanguageTrial(
            method.name, setting, load_language_config(table.config, [*words, f"seed={seed}"])
        )
        for seed in seeds
    ]


def ready_made_tables() -> dict[str, Path]:
    """Name -> file of every ready-made table."""
    return {path.stem: path for path in sorted(READY_MADE.glob("*.yaml"))}


def load_table(name: str) -> TableConfig:
    """Read a table; every configuration in it is built once, so that mistakes come first.

    Args:
        name: YAML file, or the name of a ready-made one.

    Raises:
        UsageError: There is none, or a key or value is wrong.
    """
    known = ready_made_tables()
    path = Path(name) if Path(name).is_file() else known.get(name)
    if path is None:
        hint = did_you_mean(Path(name).stem, known)
        raise UsageError(f"no file of a table {name!r}{hint}; ready-made: {', '.join(known)}")
    table = build(TableConfig, read_yaml(path))
    for method in table.methods:
        for setting in method.settings:
            try:
                trials_of(table, method, setting, table.seeds[:1])
            except (UsageError, ValueError) as error:
                raise UsageError(f"{path}: {method.name}: {error}") from None
    return table
