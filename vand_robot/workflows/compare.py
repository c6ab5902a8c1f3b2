"""Methods compared over training seeds, from the evaluations of their runs.

The statistics are those of Agarwal et al. (2021), Deep reinforcement learning at the edge of the
statistical precipice: interquartile means with stratified bootstrap intervals, the tasks being the
strata. Methods that were evaluated on the same test seeds are also compared episode by episode.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from vand_demos.system.files import disk_errors, write_bytes
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError, VandError
from vand_robot import figures
from vand_robot.evaluation.episodes import EpisodeKey, read_successes
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.layout import COMPARISON_FILE, COMPARISON_REPORT_FILE, RESULTS_FILE
from vand_robot.metrics.comparison import (
    Comparison,
    LeftOut,
    MethodPair,
    MethodResult,
    MethodScore,
)
from vand_robot.metrics.statistics import compare_paired, probability_of_improvement
from vand_robot.report import Picture, comparison_html

_SEED_SUFFIX = re.compile(r"(?:[-_.]seed[-_]?|(?<!\d[eE])[-_])\d+$")
"""The end of a run's name that differs between the runs of a method: gru-vand-0, gru-vand-seed1,
gru-vand_2. A number that is not set apart belongs to the method, and so do decimals: vand64,
noise-0.1, noise-1e-3."""

Cell = tuple[str, str]
"""Perturbation, task."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluated run."""

    method: str
    """The name that the runs of several seeds have in common."""
    seed: int
    """Its training seed."""
    folder: Path
    """Its evaluation."""
    result: EvaluationResult
    """The result of the evaluation."""
    success: Mapping[EpisodeKey, bool]
    """Episode -> whether it succeeded."""

    @property
    def cells(self) -> list[Cell]:
        """The perturbations and tasks that it was evaluated on."""
        rates = self.result.success_rates()
        return [(perturbation, task) for perturbation, tasks in rates.items() for task in tasks]


def mean_success(run: EvaluatedRun) -> float:
    """Success of a run: the mean over perturbations and tasks."""
    rates = run.result.success_rates().values()
    values = [rate.rate for tasks in rates for rate in tasks.values()]
    return sum(values) / len(values)


def run_comparison(folders: Sequence[Path], out: Path, *, force: bool = False) -> Comparison:
    """Compare the evaluated runs in folders, and write the comparison.

    Args:
        folders: Evaluated runs, or folders that hold them.
        out: Folder for `comparison.json`, `comparison.html` and figures as PNG.
        force: Replace a comparison that is there.

    Raises:
        UsageError: Nothing to compare, or a comparison that is there.
        VandError: Evaluations cannot be read, or the disk is full.
    """
    # the page is written last: without it, a comparison was stopped, and is made anew
    if all((out / n).exists() for n in (COMPARISON_FILE, COMPARISON_REPORT_FILE)) and not force:
        raise UsageError(f"{out}: there is a comparison already; --force replaces it")
    comparison = compare(find_runs(folders))
    write_comparison(
        comparison,
        out,
        [],
        lambda pictures: comparison_html(comparison, pictures),
        page=COMPARISON_REPORT_FILE,
    )
    return comparison


def write_comparison(
    comparison: Comparison,
    out: Path,
    others: Sequence[Picture],
    html: Callable[[Sequence[Picture]], str],
    *,
    page: str,
) -> None:
    """Write a comparison: `comparison.json`, a page, and figures as PNG.

    Args:
        comparison: The comparison.
        out: Folder.
        others: Figures beside those of the methods.
        html: Makes the page of the figures.
        page: Its file's name.

    Raises:
        VandError: The disk is full or fails.
    """
    pictures = [
        Picture("methods", "Methods", figures.method_chart(comparison)),
        Picture("tasks", "Methods by task", figures.method_matrix(comparison)),
        *others,
    ]
    with disk_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(comparison.to_json(), indent=2, allow_nan=False) + "\n"
    write_bytes(out / COMPARISON_FILE, text.encode())
    for picture in pictures:
        write_bytes(out / f"{picture.name}.png", picture.png)
    write_bytes(out / page, html(pictures).encode())


def find_runs(folders: Sequence[Path]) -> list[EvaluatedRun]:
    """The evaluated runs in folders, at any depth, by method and training seed.

    Evaluations of the scripted experts are left out: nothing was trained, so they are no method.
    Methods come in the order of the folders; those within one, by name.

    Raises:
        UsageError: A folder is missing or holds no evaluation of a run; two runs are of one method
            and seed.
        VandError: Evaluations cannot be read, are not complete, or are of different suite versions.
    """
    found: list[EvaluatedRun] = []
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no folder {folder}")
        files = sorted(folder.rglob(RESULTS_FILE))
        if not files:
            raise UsageError(f"{folder}: no {RESULTS_FILE} in it; evaluate its runs first")
        runs = [run for file in files if (run := _read_run(file)) is not None]
        if not runs:
            raise UsageError(
                f"{folder}: only the scripted experts were evaluated there; expected runs"
            )
        found += runs
    methods = list(dict.fromkeys(run.method for run in found))
    found.sort(key=lambda run: (methods.index(run.method), run.seed))
    for one, other in pairwise(found):
        if (one.method, one.seed) == (other.method, other.seed):
            raise UsageError(
                f"{one.folder} and {other.folder}: both are method {one.method!r} with training"
                f" seed {one.seed}; name the folders to compare one by one"
            )
        if one.result.suite_version != other.result.suite_version:
            raise VandError(
                f"{one.folder} and {other.folder}: evaluated by suite versions"
                f" {one.result.suite_version} and {other.result.suite_version}"
            )
    return found


def _read_run(file: Path) -> EvaluatedRun | None:
    """The run of a `results.json`; None if it is of the scripted experts.

    Raises:
        VandError: It or the episodes beside it cannot be read or are not complete.
    """
    result = EvaluationResult.read(file)
    policy = result.policy
    if policy.expert:
        return None
    config = JsonRecord(str(file), policy.config, "policy.config")
    seed = config.integer("seed") if policy.config else 0
    method = _SEED_SUFFIX.sub("", policy.run) or policy.run
    return EvaluatedRun(method, seed, file.parent, result, read_successes(file.parent))


def compare(runs: Sequence[EvaluatedRun], pairs_among: Collection[str] | None = None) -> Comparison:
    """Compare runs on the perturbations and tasks that all of them share.

    Args:
        runs: At least one.
        pairs_among: Methods of which every two are compared; None: all.

    Raises:
        UsageError: The runs share no task under any perturbation.
    """
    cells = [cell for cell in runs[0].cells if all(cell in run.cells for run in runs)]
    if not cells:
        raise UsageError("the runs share no task under any perturbation: nothing to compare")
    methods = list(dict.fromkeys(run.method for run in runs))
    perturbations = tuple(dict.fromkeys(perturbation for perturbation, _ in cells))
    return Comparison(
        suite_version=runs[0].result.suite_version,
        perturbations=perturbations,
        tasks=tuple(dict.fromkeys(task for _, task in cells)),
        methods={
            method: _method_result([run for run in runs if run.method == method], cells)
            for method in methods
        },
        pairs=tuple(
            pair
            for first, second in combinations(
                [m for m in methods if pairs_among is None or m in pairs_among], 2
            )
            for perturbation in perturbations
            if (pair := _pair(runs, first, second, perturbation, cells)) is not None
        ),
        left_out=_left_out(runs, cells),
    )


def _method_result(runs: Sequence[EvaluatedRun], cells: Sequence[Cell]) -> MethodResult:
    tasks: dict[str, list[str]] = {}
    for perturbation, task in cells:
        tasks.setdefault(perturbation, []).append(task)
    rates = [run.result.success_rates() for run in runs]
    return MethodResult(
        seeds=tuple(run.seed for run in runs),
        perturbations={
            name: MethodScore.of({task: [own[name][task].rate for own in rates] for task in among})
            for name, among in tasks.items()
        },
    )


def _left_out(runs: Sequence[EvaluatedRun], cells: Collection[Cell]) -> tuple[LeftOut, ...]:
    """The tasks that only some of the runs were evaluated on, by the runs that lack them."""
    missing: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for perturbation, task in dict.fromkeys(cell for run in runs for cell in run.cells):
        if (perturbation, task) not in cells:
            lacking = (run for run in runs if (perturbation, task) not in run.cells)
            names = tuple(run.result.policy.run for run in lacking)
            missing.setdefault((task, names), []).append(perturbation)
    return tuple(
        LeftOut(task, tuple(perturbations), names)
        for (task, names), perturbations in missing.items()
    )


def _pair(
    runs: Sequence[EvaluatedRun],
    first: str,
    second: str,
    perturbation: str,
    cells: Collection[Cell],
) -> MethodPair | None:
    """Two methods on the same episodes, training seed by training seed; None: they share none.

    Only episodes of the (perturbation, task) in `cells` count, those that the scores are of.
    """
    of = {(run.method, run.seed): run.success for run in runs}
    pairs = [
        (of[first, seed][episode], of[second, seed][episode])
        for method, seed in of
        if method == first and (second, seed) in of
        for episode in of[first, seed]
        if episode[0] == perturbation and episode[:2] in cells and episode in of[second, seed]
    ]
    if not pairs:
        return None
    result = compare_paired([a for a, _ in pairs], [b for _, b in pairs])
    strata = [
        [
            [run.result.success_rates()[name][task].rate for run in runs if run.method == method]
            for name, task in cells
            if name == perturbation
        ]
        for method in (first, second)
    ]
    improvement = probability_of_improvement(*strata)
    return MethodPair(first, second, perturbation, len(pairs), result, improvement)
