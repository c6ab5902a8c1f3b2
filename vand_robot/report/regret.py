"""The report of a sweep over regimes."""

from collections.abc import Mapping, Sequence

from vand_robot.metrics.regret import Regret
from vand_robot.report.page import check_links, percent, plural, render


def regret_html(
    *,
    name: str,
    regimes: Sequence[str],
    development: Sequence[str],
    regrets: Mapping[str, Regret],
    success: Mapping[str, Sequence[float | None]],
    best: Sequence[str],
    links: Mapping[str, str],
    failed: Mapping[str, str],
) -> str:
    """The text of the page.

    Args:
        name: Name of the sweep.
        regimes: Names of the regimes.
        development: Those in which methods were developed.
        regrets: Setting -> regret, the lowest mean first.
        success: Setting -> mean success in each regime; None where it has no run.
        best: The best setting of each method.
        links: Regime -> the file of its comparison, relative to the page.
        failed: Trials that failed -> why.
    """
    check_links(links)
    unranked = [setting for setting in success if setting not in regrets]
    return render(
        "regret.html.j2",
        title="Sweep",
        name=name,
        contents=(),
        headline=regret_headline(regrets),
        facts=f"{plural(len(success), 'setting')} · {plural(len(regimes), 'regime')}",
        regimes=regimes,
        development=development,
        regrets=regrets,
        success=success,
        unranked=unranked,
        best=best,
        links=links,
        failed=failed,
    )


def regret_headline(regrets: Mapping[str, Regret]) -> str:
    """The setting with the lowest mean regret, in a sentence."""
    if not regrets:
        return "No setting has been in every regime."
    setting, regret = next(iter(regrets.items()))
    return (
        f"{setting} has the lowest mean regret: {percent(regret.mean)} points of success, at worst"
        f" {percent(regret.worst)} in {regret.worst_in}."
    )
