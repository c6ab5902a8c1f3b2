"""VAND's two halves in one table: noise, dropout, both, adapted and fixed, on every experiment.

Sequences and series give the share of time in tolerance, language models the test perplexity. A
method that was not run somewhere leaves its place empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vand_demos.system.files import write_bytes
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError
from vand_robot.experiments.comparison.methods import ABLATION

RESULTS = "results.json"
"""Name of an experiment's results in its folder."""


@dataclass(frozen=True)
class Spread:
    """A number of a method."""

    value: float
    """Interquartile mean, or mean, over seeds."""
    interval: tuple[float, float] | None
    """Its 95 % interval; None where there are too few seeds."""
    n: int
    """Trials."""

    def __str__(self) -> str:
        """The number with its interval: `0.53 (0.41, 0.66)`; a perplexity with one digit."""
        digits = 2 if abs(self.value) < 10 else 1
        if self.interval is None:
            return f"{self.value:.{digits}f}"
        low, high = self.interval
        return f"{self.value:.{digits}f} ({low:.{digits}f}, {high:.{digits}f})"


@dataclass(frozen=True)
class Column:
    """An experiment: cell and signals, or a text."""

    title: str
    """What stands above it."""
    values: Mapping[str, Spread]
    """Method -> its number."""


def ablation_columns(
    sequences: Path | None, series: Path | None, language: Path | None
) -> list[Column]:
    """Read the experiments' results.

    Args:
        sequences: Folder of `experiments sequences`; None to leave it out.
        series: Folder of `experiments series`.
        language: Folder of `experiments language-table ablation`.

    Raises:
        UsageError: No folder is given, or one has no results of any of the methods.
        VandError: Results are damaged.
    """
    columns = []
    for kind, folder in (("sequences", sequences), ("series", series)):
        if folder is not None:
            columns += _compared(kind, _results(kind, folder))
    if language is not None:
        columns.append(_perplexities(_results("language", language)))
    if not columns:
        raise UsageError("name at least one folder: --sequences, --series or --language")
    return columns


def write_ablation(columns: Sequence[Column], file: Path) -> None:
    """Write the table as text for a page, Markdown.

    Raises:
        VandError: The disk is full or fails.
    """
    lines = [
        f"| | {' | '.join(column.title for column in columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(f"| {' | '.join(row)} |" for row in ablation_rows(columns)),
    ]
    write_bytes(file, ("\n".join(lines) + "\n").encode())


def ablation_rows(columns: Sequence[Column]) -> list[list[str]]:
    """A row for each method: its name, and its number in each column, empty where there is none."""
    return [
        [method, *(str(column.values.get(method, "")) for column in columns)] for method in ABLATION
    ]


def _results(kind: str, folder: Path) -> JsonRecord:
    if not (folder / RESULTS).exists():
        raise UsageError(f"--{kind}: no {RESULTS} in {folder}")
    return JsonRecord.read(folder / RESULTS)


def _compared(kind: str, results: JsonRecord) -> list[Column]:
    """The share of time in tolerance, by cell and signals."""
    found: dict[str, dict[str, Spread]] = {}
    for entry in results.record_list("methods"):
        count, share = entry.integer("n", 1), entry.record("in_tolerance")
        title = f"{kind}, {entry.text('cell')}, {entry.text('signals')}, n = {count}"
        interval = (share.number("low", 0, 1), share.number("high", 0, 1))
        spread = Spread(share.number("iqm", 0, 1), interval, count)
        found.setdefault(title, {})[entry.text("method")] = spread
    return [Column(title, _known(values, results)) for title, values in found.items()]


def _perplexities(results: JsonRecord) -> Column:
    """The test perplexity of language models."""
    values = {}
    for row in results.record_list("rows"):
        test = row.record("test")
        low, high = test.optional_number("low"), test.optional_number("high")
        interval = None if low is None or high is None else (low, high)
        values[row.text("method")] = Spread(test.number("mean"), interval, row.integer("n", 1))
    name = results.record("text").text("name")
    counts = sorted({spread.n for spread in values.values()})
    title = f"language, {name}, test perplexity, n = {'/'.join(map(str, counts))}"
    return Column(title, _known(values, results))


def _known(values: Mapping[str, Spread], results: JsonRecord) -> dict[str, Spread]:
    known = {name: spread for name, spread in values.items() if name in ABLATION}
    if not known:
        raise UsageError(f"{results.source}: none of these methods: {', '.join(ABLATION)}")
    return known
