"""A study: methods compared over training seeds, from the evaluations of their runs.

The statistics are those of Agarwal et al. (2021), Deep reinforcement learning at the edge of the
statistical precipice: interquartile means with stratified bootstrap intervals, the tasks being the
strata. Methods that were tried on the same test seeds are also compared episode by episode.
"""

import csv
import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos.system.files import disk_errors, write_bytes
from vand_envs.errors import UsageError, VandError
from vand_robot import figures
from vand_robot.metrics.statistics import bootstrap_interval, compare_paired, interquartile_mean
from vand_robot.report.page import Picture
from vand_robot.report.study import study_html

RESULTS, EPISODES = "results.json", "episodes.csv"
STUDY, STUDY_REPORT = "study.json", "study.html"

_SEED_SUFFIX = re.compile(r"(?:[-_.]seed[-_]?|(?<!\d[eE])[-_])\d+$")
"""What the names of a method's runs differ in: gru-vand-0, gru-vand-seed1, gru-vand_2. A number
that is not set apart belongs to the method, and so do decimals: vand64, noise-0.1, noise-1e-3."""

Episode = tuple[str, str, int]
"""Perturbation, task, seed: the same episode for every policy."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluated run."""

    method: str
    """What the runs of several seeds have in common."""
    seed: int
    """Its training seed."""
    folder: Path
    """Its evaluation."""
    results: Mapping[str, Any]
    """The content of its `results.json`."""
    success: Mapping[Episode, bool]
    """Episode -> whether it succeeded."""


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
        files = sorted(folder.rglob(RESULTS))
        if not files:
            raise UsageError(f"{folder}: no {RESULTS} in it; evaluate its runs first")
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
        if one.results["suite_version"] != other.results["suite_version"]:
            raise VandError(
                f"{one.folder} and {other.folder}: evaluated by suite versions"
                f" {one.results['suite_version']} and {other.results['suite_version']}"
            )
    return found


def _read_run(file: Path) -> EvaluatedRun | None:
    """The run whose `results.json` that is; None: of the scripted experts.

    Raises:
        VandError: It or the episodes beside it cannot be read, or lack what a study needs.
    """
    with disk_errors("read", file):
        content = file.read_bytes()
    try:
        results = json.loads(content)
    except ValueError as error:
        raise VandError(f"cannot read {file}: expected JSON: {error}") from error
    name = str(_entry(file, results, "policy", "run"))
    if results["policy"].get("expert"):
        return None
    _entry(file, results, "suite_version")
    perturbations = _entries(file, results, "perturbations")
    for task in _entries(file, results, "tasks"):
        for perturbation in _entries(file, results, "tasks", task, "perturbations"):
            if perturbation in perturbations:
                where = ("tasks", task, "perturbations", perturbation, "success_rate")
                rate = _entry(file, results, *where)
                if not isinstance(rate, int | float):
                    raise VandError(
                        f"cannot read {file}: {where[-1]}: expected a rate, got {rate!r:.60}"
                    )
    seed = 0
    if results["policy"].get("config"):
        seed = _entry(file, results, "policy", "config", "seed")
        if not isinstance(seed, int):
            raise VandError(
                f"cannot read {file}: policy.config.seed: expected a number, got {seed!r:.60}"
            )
    success = _read_success(file.parent / EPISODES)
    return EvaluatedRun(_SEED_SUFFIX.sub("", name) or name, seed, file.parent, results, success)


def _entry(file: Path, record: Any, *keys: str) -> Any:
    """What stands in a record of a file under these keys, one inside the other."""
    for depth, key in enumerate(keys, start=1):
        if not isinstance(record, Mapping) or key not in record:
            raise VandError(f"{file}: {'.'.join(keys[:depth])} is missing")
        record = record[key]
    return record


def _entries(file: Path, record: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping that stands there."""
    found = _entry(file, record, *keys)
    if not isinstance(found, Mapping):
        raise VandError(f"{file}: {'.'.join(keys)}: expected a mapping, got {found!r:.60}")
    return found


def _read_success(file: Path) -> dict[Episode, bool]:
    """Episode -> whether it succeeded, from an `episodes.csv`."""
    with disk_errors("read", file):
        content = file.read_bytes()
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        for column in ("perturbation", "task", "seed", "success"):
            if column not in (reader.fieldnames or ()):
                raise VandError(f"{file}: column {column} is missing")
        return {
            (row["perturbation"], row["task"], int(row["seed"])): row["success"] == "True"
            for row in reader
        }
    except (csv.Error, TypeError, ValueError) as error:  # no text, no table, or a seed that is none
        raise VandError(f"cannot read {file}: {error}") from error


def compare(runs: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """The content of `study.json`.

    Args:
        runs: At least one; only the perturbations and tasks that all of them share are compared.

    Returns:
        Methods -> perturbation -> interquartile mean over (task, seed) with its interval, and the
        mean of each task; and for each pair of methods McNemar's test on the shared episodes.

    Raises:
        UsageError: The runs share no task under any perturbation.
    """
    cells = _shared_cells(runs)
    if not cells:
        raise UsageError("the runs share no task under any perturbation: nothing to compare")
    methods = list(dict.fromkeys(run.method for run in runs))
    perturbations = list(dict.fromkeys(perturbation for perturbation, _ in cells))
    return {
        "suite_version": runs[0].results["suite_version"],
        "perturbations": perturbations,
        "tasks": list(dict.fromkeys(task for _, task in cells)),
        "methods": {
            method: {
                "seeds": [run.seed for run in runs if run.method == method],
                "perturbations": {
                    perturbation: _score(
                        [run for run in runs if run.method == method],
                        perturbation,
                        [task for name, task in cells if name == perturbation],
                    )
                    for perturbation in perturbations
                },
            }
            for method in methods
        },
        "paired": [
            paired
            for first, second in combinations(methods, 2)
            for perturbation in perturbations
            if (paired := _pair(runs, first, second, perturbation, cells)) is not None
        ],
    }


def _shared_cells(runs: Sequence[EvaluatedRun]) -> list[tuple[str, str]]:
    """(perturbation, task) that every run was evaluated on, in the order of the first run."""
    own = [
        [
            (perturbation, task)
            for perturbation in run.results["perturbations"]
            for task, entry in run.results["tasks"].items()
            if perturbation in entry["perturbations"]
        ]
        for run in runs
    ]
    return [cell for cell in own[0] if all(cell in cells for cells in own)]


def _score(runs: Sequence[EvaluatedRun], perturbation: str, tasks: Sequence[str]) -> dict[str, Any]:
    rates = np.array(
        [
            [
                run.results["tasks"][task]["perturbations"][perturbation]["success_rate"]
                for run in runs
            ]
            for task in tasks
        ]
    )  # (tasks, seeds)
    return {
        "iqm": interquartile_mean(rates),
        "bootstrap_95": list(bootstrap_interval(list(rates))),
        "mean": float(rates.mean()),
        "tasks": dict(zip(tasks, rates.mean(axis=1).tolist(), strict=True)),
    }


def _pair(
    runs: Sequence[EvaluatedRun],
    first: str,
    second: str,
    perturbation: str,
    cells: Collection[tuple[str, str]],
) -> dict[str, Any] | None:
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
    compared = compare_paired([a for a, _ in pairs], [b for _, b in pairs])
    return {
        "first": first,
        "second": second,
        "perturbation": perturbation,
        "episodes": len(pairs),
        **vars(compared),
    }


def run_study(folders: Sequence[Path], out: Path, *, force: bool = False) -> dict[str, Any]:
    """Compare the evaluated runs in folders, and write what came out.

    Args:
        folders: Evaluated runs, or folders that hold them.
        out: Folder for `study.json`, `study.html` and figures as PNG.
        force: Replace a study that is there.

    Returns:
        The content of `study.json`.

    Raises:
        UsageError: Nothing to compare, or a study that is there.
        VandError: Evaluations cannot be read, or the disk is full.
    """
    if (out / STUDY).exists() and not force:
        raise UsageError(f"{out}: there is a study already; --force replaces it")
    study = compare(find_runs(folders))
    pictures = [
        Picture("methods", "Methods", figures.method_chart(study)),
        Picture("tasks", "Methods by task", figures.method_matrix(study)),
    ]
    with disk_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / STUDY, (json.dumps(study, indent=2, allow_nan=False) + "\n").encode())
    for picture in pictures:
        figures.write_png(picture.figure, out / f"{picture.name}.png")
    write_bytes(out / STUDY_REPORT, study_html(study, pictures).encode())
    return study
