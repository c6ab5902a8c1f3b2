"""The page of a study."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from vand_robot.report.page import Picture, image, page, section, table


def study_html(study: Mapping[str, Any], pictures: Sequence[Picture]) -> str:
    """The text of the page that compares methods; `study` is the content of `study.json`."""
    seeds = {len(method["seeds"]) for method in study["methods"].values()}
    spread = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(max(seeds))
    lead = (
        f"{len(study['methods'])} methods · {spread} training seeds each ·"
        f" {len(study['tasks'])} tasks · suite version {study['suite_version']}"
    )
    sections = [
        section("Success", _NOTE + _table(study)),
        *(section(picture.title, image(picture)) for picture in pictures),
        _paired(study),
    ]
    return page("Study", "", escape(lead), sections)


_NOTE = (
    "<p class='faint'>Interquartile mean of the success rates over tasks and training seeds, with"
    " its stratified bootstrap 95 % interval. With one seed the interval says nothing about"
    " training.</p>"
)


def _table(study: Mapping[str, Any]) -> str:
    rows = []
    for name, method in study["methods"].items():
        cells = [f"{escape(name)}<small>{len(method['seeds'])} seeds</small>"]
        for perturbation in study["perturbations"]:
            score = method["perturbations"][perturbation]
            low, high = score["bootstrap_95"]
            cells.append(
                f"<strong>{100 * score['iqm']:.0f} %</strong>"
                f"<small>{100 * low:.0f} to {100 * high:.0f} %</small>"
            )
        rows.append(cells)
    return table(["Method", *(f">{escape(it)}" for it in study["perturbations"])], rows)


def _paired(study: Mapping[str, Any]) -> str:
    if not study["paired"]:
        return ""
    rows = [
        [
            escape(f"{pair['first']} and {pair['second']}"),
            escape(pair["perturbation"]),
            str(pair["episodes"]),
            str(pair["only_first"]),
            str(pair["only_second"]),
            f"{100 * pair['difference']:+.1f} %",
            f"{pair['p_value']:.2g}",
        ]
        for pair in study["paired"]
    ]
    heads = ["Methods", "Perturbation", ">Episodes", ">Only the first", ">Only the second"]
    heads += [">Difference", ">p"]
    note = (
        "<p class='faint'>The same episodes, training seed by training seed: McNemar's exact test,"
        " two-sided, without correction for the number of comparisons.</p>"
    )
    return section("Episode by episode", note + table(heads, rows))
