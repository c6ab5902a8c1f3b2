"""The report of the study: one HTML file that needs nothing but itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vand_demos.system.files import write_bytes
from vand_robot.experiments.comparison.figures import comparison_figure
from vand_robot.experiments.comparison.methods import setting_in_words
from vand_robot.experiments.series.figures import generation_figure
from vand_robot.experiments.series.sources import PACKAGES
from vand_robot.experiments.series.summary import SCORES
from vand_robot.experiments.series.trial import SeriesTrial
from vand_robot.report.page import Picture, render

TITLE = "Recorded series"

SHOWN = ("none", "VAND")
"""Methods whose generated motions are drawn, of each cell on the first signals."""

SHOWN_SIGNALS = 3
"""Signals of which they are drawn."""


def write_report(path: Path, results: Mapping[str, Any]) -> None:
    """Write the report.

    Args:
        path: The file; it appears when it is whole.
        results: The content of `results.json`, with the first motion of each trial.

    Raises:
        VandError: The disk is full or fails.
    """
    write_bytes(path, report_html(results).encode())


def report_html(results: Mapping[str, Any]) -> str:
    """The text of the page that `write_report` writes."""
    plan = results["plan"]
    return render(
        "series.html.j2",
        __package__,
        title=TITLE,
        name="",
        headline="",
        contents=(),
        facts=f"{len(plan['seeds'])} seeds, {plan['updates']} updates of each network;"
        " settings chosen on other people",
        plan=plan,
        scores=SCORES,
        packages=PACKAGES,
        methods=_sorted(results["methods"]),
        by_signal=_sorted(results["by_signal"]),
        ruler=results["ruler"],
        tuning=[{**e, "setting": setting_in_words(e["setting"])} for e in results["tuning"]],
        comparisons=_comparisons(results),
        generated=_generated(results),
        versions=json.dumps(results["versions"]),
    )


def _sorted(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of a table with their settings in words, by signal and cell."""
    return [
        {**entry, "setting": setting_in_words(entry["setting"])}
        for entry in sorted(entries, key=lambda entry: (entry["signals"], entry["cell"]))
    ]


def _comparisons(results: Mapping[str, Any]) -> list[Picture]:
    """The methods side by side, a figure for each group of signals."""
    names = dict.fromkeys(entry["signals"] for entry in results["methods"])
    return [
        Picture(
            name,
            name,
            comparison_figure([e for e in results["methods"] if e["signals"] == name], SCORES),
        )
        for name in names
    ]


def _generated(results: Mapping[str, Any]) -> list[Picture]:
    """The first reported seed of the first signals, without and with VAND."""
    plan, pictures = results["plan"], []
    outcomes = {SeriesTrial(**outcome["trial"]).key: outcome for outcome in results["trials"]}
    settings = {(e["cell"], e["method"]): e["setting"] for e in results["methods"]}
    for cell, signals in plan["signals"].items():
        for method in SHOWN:
            if (cell, method) not in settings:
                continue
            about = {**settings[cell, method], "recordings": plan["recordings"]}
            trials = [
                SeriesTrial(signal, cell, plan["seeds"][0], plan["updates"], **about)
                for signal in signals[:SHOWN_SIGNALS]
            ]
            found = [outcomes[trial.key] for trial in trials]
            titles = [f"{outcome['trial']['signal']}, {cell}, {method}" for outcome in found]
            name = f"{cell}, {method}"
            pictures.append(Picture(name, name, generation_figure(found, titles)))
    return pictures
