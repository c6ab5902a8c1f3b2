"""The report of the study: one HTML file that needs nothing but itself."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vand_demos.system.files import write_bytes
from vand_robot.experiments.sequences.figures import (
    SCORES,
    comparison_figure,
    generation_figure,
    variation_figure,
)
from vand_robot.experiments.sequences.trial import Trial
from vand_robot.report.page import Picture, bar, image, number, page, section, table

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
    lead = (
        f"{len(plan['seeds'])} seeds, {plan['updates']} updates of each network;"
        f" settings chosen on {len(plan['tuning_seeds'])} other seeds"
    )
    sections = [
        section("What was done", _explanation(plan)),
        section("Comparison", _image("comparison", comparison_figure(results["methods"]))),
        section("Table", _table(results["methods"])),
        section("What they generate", _generated(results)),
        section("VAND's options", _variations(results)),
        section("Tuning", _tuning(results["tuning"])),
        section("Versions", f"<code>{escape(json.dumps(results['versions']))}</code>"),
    ]
    return page(TITLE, "", escape(lead), sections)


def _explanation(plan: Mapping[str, Any]) -> str:
    sizes = plan["sizes"]
    return (
        f"<p>Each network ({sizes['units']} units) learns {sizes['sequences']} noisy sequences of"
        f" {sizes['training_steps']} steps, three cycles, of one signal, by predicting the next"
        " point. Sequences differ in tempo and size by up to 10 %, and half walk their curve"
        " backwards. Then it sees two cycles of a new sequence and generates the next"
        f" {sizes['generated_steps']} steps from its own predictions; {sizes['rollouts']} new"
        " sequences each. Elman networks learn every signal, one network for each; the others the"
        f" {escape(plan['tuning_signal'])}, which tells methods apart best. Time in tolerance:"
        " frequency within 10 %, amplitude within 20 %, orbit"
        " within 25 %. Errors are cut off at 1, drift at 2 pi: a motion that has stopped.</p>"
        "<p>Dots: interquartile mean over seeds and signals. Lines: 95 % bootstrap interval,"
        " seeds drawn within each signal. Every method had three settings, chosen by the time in"
        f" tolerance on the {escape(plan['tuning_signal'])} with seeds that are not reported.</p>"
    )


def _table(methods: Sequence[Mapping[str, Any]]) -> str:
    heads = [
        "Cell",
        "Signals",
        "Method",
        "Setting",
        ">n",
        *(f">{label}" for label in SCORES.values()),
    ]
    rows = [
        [
            escape(entry["cell"]),
            escape(entry["signals"]),
            escape(entry["method"]),
            f"<code>{escape(_setting(entry['setting']))}</code>",
            str(entry["n"]),
            *(_spread(entry[score]) for score in SCORES),
        ]
        for entry in sorted(methods, key=lambda entry: (entry["cell"], entry["signals"]))
    ]
    return table(heads, rows)


def _generated(results: Mapping[str, Any]) -> str:
    """The first reported seed of each signal, without and with VAND."""
    plan = results["plan"]
    outcomes = {Trial(**outcome["trial"]).key: outcome for outcome in results["trials"]}
    pictures = []
    for method, cell in SHOWN:
        setting = next(
            entry["setting"]
            for entry in results["methods"]
            if (entry["method"], entry["cell"]) == (method, cell)
        )
        trials = [
            Trial(signal, cell, plan["seeds"][0], plan["updates"], **setting)
            for signal in plan["signals"][cell]
        ]
        figure = generation_figure(
            [outcomes[trial.key] for trial in trials],
            [f"{trial.signal}, {cell}, {method}" for trial in trials],
        )
        pictures.append(_image(f"{cell}, {method}", figure))
    note = (
        "<p class='faint'>Blue: generated, its last cycles. Grey: the sequence to go on with.</p>"
    )
    return note + "".join(pictures)


def _variations(results: Mapping[str, Any]) -> str:
    plan = results["plan"]
    note = (
        f"<p>One option at a time, on the {escape(plan['tuning_signal'])},"
        f" {escape(plan['varied_cell'])}, {len(plan['seeds'])} seeds; the others as in"
        f" <code>{escape(json.dumps(plan['varied']))}</code>.</p>"
    )
    rows = [
        [
            escape(entry["option"]),
            f"<code>{escape(str(entry['value']))}</code>",
            str(entry["n"]),
            *(_spread(entry[score]) for score in SCORES),
        ]
        for entry in results["variations"]
    ]
    heads = ["Option", "Value", ">n", *(f">{label}" for label in SCORES.values())]
    figure = _image("variations", variation_figure(results["variations"]))
    return note + figure + table(heads, rows)


def _tuning(tuned: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            escape(entry["cell"]),
            escape(entry["method"]),
            f"<code>{escape(_setting(entry['setting']))}</code>",
            bar(entry["score"]),
            f"{entry['score']:.2f}",
        ]
        for entry in tuned
    ]
    return (
        "<details><summary>Every setting, with its time in tolerance on the validation seeds"
        "</summary>"
        + table(["Cell", "Method", "Setting", "", ">time in tolerance"], rows)
        + "</details>"
    )


def _setting(setting: Mapping[str, Any]) -> str:
    """A setting in a few words: its number, and of what."""
    options = setting.get("regularizer", setting)
    return ", ".join(
        f"{key} {value:g}"
        for key, value in options.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _spread(spread: Mapping[str, float]) -> str:
    low, high = number(spread["low"]), number(spread["high"])
    return f"{number(spread['iqm'])}<small>{low} to {high}</small>"


def _image(name: str, figure: Figure) -> str:
    return image(Picture(name, name, figure))
