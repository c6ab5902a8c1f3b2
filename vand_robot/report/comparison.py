"""The report of a comparison of methods."""

from collections.abc import Sequence

from vand_robot.metrics.comparison import Comparison
from vand_robot.report.page import Picture, percent, plural, render


def comparison_html(comparison: Comparison, pictures: Sequence[Picture]) -> str:
    """The text of the page that compares methods."""
    return render(
        "comparison.html.j2",
        title="Comparison",
        name="",
        contents=(),
        comparison=comparison,
        headline=headline(comparison),
        facts=_facts(comparison),
        pictures=pictures,
    )


def headline(comparison: Comparison) -> str:
    """Which method succeeded most often under the first perturbation, in a sentence."""
    name = comparison.perturbations[0]
    scores = {
        method: result.perturbations[name].iqm for method, result in comparison.methods.items()
    }
    best, *others = sorted(scores, key=lambda method: -scores[method])
    text = f"{best}: {percent(scores[best])} % of the episodes succeeded under {name}"
    if not others:
        return f"{text}."
    if scores[others[0]] == scores[best]:
        return f"{text}, as many as of {others[0]}."
    return f"{text}, more than {others[0]} with {percent(scores[others[0]])} %."


def _facts(comparison: Comparison) -> str:
    seeds = sorted({len(method.seeds) for method in comparison.methods.values()})
    spread = f"{seeds[0]} to " if len(seeds) > 1 else ""
    return " · ".join(
        [
            plural(len(comparison.methods), "method"),
            f"{spread}{plural(seeds[-1], 'training seed')} each",
            plural(len(comparison.tasks), "task"),
            f"suite version {comparison.suite_version}",
        ]
    )
