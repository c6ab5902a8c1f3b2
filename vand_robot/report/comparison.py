"""The report of a comparison of methods."""

from collections.abc import Mapping, Sequence

from vand_robot.metrics.comparison import Comparison
from vand_robot.report.page import Picture, percent, plural, render


def comparison_html(
    comparison: Comparison,
    pictures: Sequence[Picture],
    *,
    name: str = "",
    failed: Mapping[str, str] | None = None,
) -> str:
    """The text of the page that compares methods.

    Args:
        comparison: The methods.
        pictures: Figures.
        name: Name of the sweep that the runs are from; empty where there was none.
        failed: Trials that failed -> why.
    """
    return render(
        "comparison.html.j2",
        title="Sweep" if name else "Comparison",
        name=name,
        failed=failed or {},
        contents=(),
        comparison=comparison,
        headline=headline(comparison),
        facts=_facts(comparison),
        pictures=pictures,
    )


def headline(comparison: Comparison) -> str:
    """The method with the highest score under the first perturbation, in a sentence."""
    name = comparison.perturbations[0]
    scores = {
        method: result.perturbations[name].iqm for method, result in comparison.methods.items()
    }
    best, *others = sorted(scores, key=lambda method: -scores[method])
    score = f"interquartile mean of success under {name}"
    if not others:
        return f"{best}: {percent(scores[best])} % {score}."
    if scores[others[0]] == scores[best]:
        return f"{best} and {others[0]} have the highest {score}: {percent(scores[best])} %."
    return (
        f"{best} has the highest {score}: {percent(scores[best])} %, before {others[0]} with"
        f" {percent(scores[others[0]])} %."
    )


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
