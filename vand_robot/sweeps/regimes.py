"""The report of a sweep over regimes: each regime compared, and the regret of every setting."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vand_demos.system.files import write_bytes
from vand_robot.layout import REPORT_FILE
from vand_robot.metrics.regret import Rates, Regret, regrets
from vand_robot.report import regret_html
from vand_robot.sweeps.trial import Trial
from vand_robot.workflows.compare import EvaluatedRun, mean_success

REGRET_FILE = "regret.json"
"""Success and regret of every setting in every regime."""
REGIMES_FOLDER = "regimes"
"""Holds a comparison for each regime."""

Finished = Sequence[tuple[Trial, EvaluatedRun]]
"""Trials with their evaluations."""


@dataclass(frozen=True)
class RegretTable:
    """What a sweep over regimes found."""

    rates: Rates
    """Setting -> regime -> success of each training seed, a mean over tasks and perturbations."""
    regrets: Mapping[str, Regret]
    """Setting -> regret over the regimes that are not for development, the lowest mean first."""
    development: tuple[str, ...]
    """Regimes in which methods were developed."""

    @classmethod
    def of(cls, finished: Finished, development: Sequence[str]) -> "RegretTable":
        """The table of trials.

        Args:
            finished: Trials of regimes, and their evaluations.
            development: Regimes that have no part in the regrets.
        """
        rates: dict[str, dict[str, list[float]]] = {}
        for trial, run in finished:
            own = rates.setdefault(trial.label, {})
            own.setdefault(trial.regime or "", []).append(mean_success(run))
        judged = {
            setting: {regime: v for regime, v in own.items() if regime not in development}
            for setting, own in rates.items()
        }
        return cls(rates, regrets(judged), tuple(development))

    @property
    def regimes(self) -> tuple[str, ...]:
        """All regimes; those for development last."""
        names = dict.fromkeys(name for own in self.rates.values() for name in own)
        return tuple(sorted(names, key=lambda name: name in self.development))

    @property
    def best_settings(self) -> tuple[str, ...]:
        """The setting of each method with the lowest mean regret, the lowest first.

        The method is what comes before the first slash of a setting's name.
        """
        best: dict[str, str] = {}
        for setting in self.regrets:
            best.setdefault(setting.split("/")[0], setting)
        return tuple(best.values())

    def mean_in(self, setting: str, regime: str) -> float | None:
        """Success of a setting in a regime, the mean over training seeds; None: it has no run."""
        values = self.rates[setting].get(regime)
        return sum(values) / len(values) if values else None

    def to_json(self) -> dict[str, Any]:
        """The content of `regret.json`."""
        return {
            "regimes": list(self.regimes),
            "development": list(self.development),
            "success_by_seed": {
                s: {r: list(v) for r, v in o.items()} for s, o in self.rates.items()
            },
            "regret": {setting: regret.to_json() for setting, regret in self.regrets.items()},
            "best_setting_of_each_method": list(self.best_settings),
        }


def write_regrets(table: RegretTable, out: Path, failed: Mapping[str, str]) -> None:
    """Write `regret.json` and the page that shows it.

    Args:
        table: The table.
        out: The sweep's folder.
        failed: Trials that failed -> why.

    Raises:
        VandError: The disk is full or fails.
    """
    text = json.dumps(table.to_json(), indent=2, allow_nan=False) + "\n"
    write_bytes(out / REGRET_FILE, text.encode())
    links = {name: f"{REGIMES_FOLDER}/{name}/{REPORT_FILE}" for name in table.regimes}
    page = regret_html(
        name=out.name,
        regimes=table.regimes,
        development=table.development,
        regrets=table.regrets,
        success={s: [table.mean_in(s, r) for r in table.regimes] for s in table.rates},
        best=table.best_settings,
        links=links,
        failed=failed,
    )
    write_bytes(out / REPORT_FILE, page.encode())
