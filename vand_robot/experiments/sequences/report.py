"""The report of the study: one HTML file that needs nothing but itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vand_demos.system.files import write_bytes
from vand_robot.experiments.comparison.figures import comparison_figure
from vand_robot.experiments.comparison.methods import setting_in_words
from vand_robot.experiments.comparison.trial import Trial
from vand_robot.experiments.sequences.figures import (
    SCORES,
    generation_figure,
    variation_figure,
)
from vand_robot.report.page import Picture, render

TITLE = "Periodic sequences"

SHOWN = (("none", "elman"), ("VAND", "elman"))
"""Method and cell of the networks whose generated sequences are drawn."""


def write_report(path: Path, results: Mapping[str, Any]) -> None:
    """Write the report.

    Args:
        path: The file; it appears when it is whole.
        results: The content of `results.json`, with the first rollout of each trial.

    Raises:
        VandError: The disk is full or fails.
    """
    write_bytes(path, report_html(results).encode())


def report_html(results: Mapping[str, Any]) -> str:
    """The text of the page that `write_report` writes."""
    plan = results["plan"]
    seeds, tuning = len(plan["seeds"]), len(plan["tuning_seeds"])
    return render(
        "sequences.html.j2",
        __package__,
        title=TITLE,
        name="",
        headline="",
        contents=(),
        facts=f"{seeds} seeds, {plan['updates']} updates of each network;"
        f" settings chosen on {tuning} other seeds",
        plan=plan,
        scores=SCORES,
        methods=[
            {**entry, "setting": setting_in_words(entry["setting"])}
            for entry in sorted(
                results["methods"], key=lambda entry: (entry["cell"], entry["signals"])
            )
        ],
        variations=results["variations"],
        tuning=[
            {**entry, "setting": setting_in_words(entry["setting"])} for entry in results["tuning"]
        ],
        comparison=_picture("comparison", comparison_figure(results["methods"], SCORES)),
        generated=_generated(results),
        variation=_picture("variations", variation_figure(results["variations"]))
        if results["variations"]
        else None,
        varied=json.dumps(plan["varied"]),
        versions=json.dumps(results["versions"]),
    )


def _generated(results: Mapping[str, Any]) -> list[Picture]:
    """The first reported seed of each signal, without and with VAND."""
    plan = results["plan"]
    outcomes = {Trial(**outcome["trial"]).key: outcome for outcome in results["trials"]}
    pictures = []
    settings = {(entry["method"], entry["cell"]): entry["setting"] for entry in results["methods"]}
    for method, cell in SHOWN:
        if (method, cell) not in settings:
            continue
        setting = settings[method, cell]
        trials = [
            Trial(signal, cell, plan["seeds"][0], plan["updates"], **setting)
            for signal in plan["signals"][cell]
        ]
        figure = generation_figure(
            [outcomes[trial.key] for trial in trials],
            [f"{trial.signal}, {cell}, {method}" for trial in trials],
        )
        pictures.append(_picture(f"{cell}, {method}", figure))
    return pictures


def _picture(name: str, figure: Figure) -> Picture:
    return Picture(name, name, figure)
