"""The report of an evaluation: one HTML file that needs nothing but itself.

Everything that comes from outside (names, instructions, configuration) is escaped.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vand_demos.system.files import write_bytes
from vand_robot.report.facts import configuration, definitions, perturbations
from vand_robot.report.page import Picture, image, links, page, section
from vand_robot.report.summary import lead, summary, worst
from vand_robot.report.task import task_section

__all__ = ["Picture", "report_html", "write_report"]


def write_report(
    path: str | Path,
    results: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    *,
    links: Mapping[str, str] | None = None,
    title: str = "Evaluation",
) -> None:
    """Write an evaluation as a page to read.

    Args:
        path: The file; it appears when it is whole.
        results: The content of `results.json`.
        pictures: Figures; embedded as PNG, each with its task or perturbation.
        links: Pages beside the report (replays...): title -> address.
        title: Heading of the page.

    Raises:
        ValueError: A link leads elsewhere than to a file beside the report.
        VandError: The disk is full or fails.
    """
    text = report_html(results, pictures, links=links, title=title)
    write_bytes(Path(path), text.encode())


def report_html(
    results: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    *,
    links: Mapping[str, str] | None = None,
    title: str = "Evaluation",
) -> str:
    """The text of the page that `write_report` writes."""
    policy = results.get("policy", {})
    name = str(policy.get("run", "") or policy.get("name", ""))
    sections = [
        summary(results),
        _watch(links or {}),
        _confusion([it for it in pictures if it.perturbation]),
        *(
            task_section(task_id, task, [it for it in pictures if it.task == task_id])
            for task_id, task in results["tasks"].items()
        ),
        worst(results, policy),
        *(section(it.title, image(it)) for it in pictures if not it.task and not it.perturbation),
        perturbations(results),
        configuration(results, policy),
        definitions(results),
    ]
    return page(title, name, lead(results, policy), sections)


def _watch(addresses: Mapping[str, str]) -> str:
    return section("Watch", links(addresses)) if addresses else ""


def _confusion(pictures: Sequence[Picture]) -> str:
    """The matrices of all perturbations, the first one open."""
    if not pictures:
        return ""
    note = (
        "<p class='faint'>Every episode is judged by every task's criterion of success. The"
        " diagonal, framed, is success; an episode may show several behaviors, or none.</p>"
    )
    blocks = "".join(
        f"<details{'' if k else ' open'}><summary>{escape(it.perturbation)}</summary>"
        f"{image(it)}</details>"
        for k, it in enumerate(pictures)
    )
    return section(pictures[0].title, note + blocks)
