"""The order in which the trials of a sweep come: all known beforehand, or chosen one by one."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vand_envs.errors import VandError
from vand_robot.sweeps.outcomes import Outcome
from vand_robot.sweeps.plan import Setting, SweepPlan, known_beforehand, settings
from vand_robot.sweeps.schema import SearchConfig
from vand_robot.sweeps.trial import Trial, TrialResult

STUDY_FILE = "tpe.log"
"""Journal of Optuna: settings and how they did."""


class TrialSource(Protocol):
    """The trials of a sweep in the order in which they are to be run."""

    total: int
    """Number of trials in all."""

    def take(self) -> Trial | None:
        """The next trial; None: there is none, or none before another one's outcome is known."""
        ...

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Take notice of the outcome of a trial."""
        ...


class FixedTrials:
    """Trials that are known beforehand.

    Args:
        trials: The trials.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._left = deque(trials)
        self.total = len(trials)

    def take(self) -> Trial | None:
        """As `TrialSource.take`."""
        return self._left.popleft() if self._left else None

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """As `TrialSource.tell`: nothing depends on it."""


class TpeTrials:
    """Trials whose settings Optuna's TPE sampler chooses, for each method by itself.

    A setting's score is the mean over its data sizes and seeds: success where there is an
    evaluation, which there always is. Settings that are still to be tried when a sweep is resumed
    are taken up again from the journal; the sampler then begins with another random number, so a
    resumed search is sound, but is not the search that was not interrupted.

    Args:
        plan: The sweep.
        folder: Its folder, for the journal.
        slots: Settings of a method that are tried side by side.

    Raises:
        VandError: Optuna is not installed.
    """

    def __init__(self, plan: SweepPlan, folder: Path, slots: int) -> None:
        search = plan.sweep.search
        if search is None:
            raise ValueError("a search is needed")
        self._plan, self._search, self._slots = plan, search, slots
        self._studies = {method: _open_study(folder, method, search) for method in plan.methods}
        self._per_setting = len(plan.trials(plan.methods[0], _some_setting(search)))
        self.total = len(plan.methods) * search.trials * self._per_setting
        self._ready: deque[Trial] = deque()
        self._open: dict[str, tuple[str, int]] = {}  # key of a trial -> method, number of a setting
        self._scores: dict[tuple[str, int], list[TrialResult | None]] = {}
        self._seen: set[str] = set()
        for method, study in self._studies.items():
            for known in study.trials:
                # finished ones too: their trials count, and are found finished when they are run
                self._queue(method, known.number, known.params)

    def take(self) -> Trial | None:
        """As `TrialSource.take`."""
        if not self._ready:
            self._ask()
        return self._ready.popleft() if self._ready else None

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """As `TrialSource.tell`."""
        method, number = place = self._open.pop(trial.key)
        self._scores[place].append(outcome.result)
        if any(where == place for where in self._open.values()):
            return
        scores = [_score(result) for result in self._scores[place] if result is not None]
        study = self._studies[method]
        if study.trials[number].state.is_finished():
            return
        if any(math.isnan(score) for score in scores):
            import optuna  # noqa: PLC0415  (optional)

            study.tell(number, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(number, sum(scores) / len(scores))

    def _ask(self) -> None:
        """Choose a setting for the method with the fewest, where one more may be tried."""
        for method, study in sorted(self._studies.items(), key=lambda item: len(item[1].trials)):
            open_settings = {place for place in self._open.values() if place[0] == method}
            if len(study.trials) < self._search.trials and len(open_settings) < self._slots:
                asked = study.ask()
                params = {
                    key: _suggest(asked, key, values) for key, values in self._search.space.items()
                }
                self._queue(method, asked.number, params)
                return

    def _queue(self, method: str, number: int, params: Setting) -> None:
        trials = [t for t in self._plan.trials(method, params) if t.key not in self._seen]
        self._scores[method, number] = []
        for trial in trials:
            self._seen.add(trial.key)
            self._open[trial.key] = method, number
            self._ready.append(trial)
        if not trials:  # the same setting again, as values of a list may come: it did as before
            self.total -= self._per_setting
            self._repeat(method, number, params)

    def _repeat(self, method: str, number: int, params: Setting) -> None:
        study = self._studies[method]
        if study.trials[number].state.is_finished():
            return
        before = [t for t in study.trials if t.params == dict(params) and t.value is not None]
        if before:
            study.tell(number, before[0].value)


def open_source(plan: SweepPlan, folder: Path, slots: int) -> TrialSource:
    """The trials of a sweep.

    Raises:
        VandError: Optuna is needed and not installed.
    """
    search = plan.sweep.search
    if not known_beforehand(search):
        return TpeTrials(plan, folder, slots)
    found = {
        trial.key: trial
        for setting in settings(search)
        for method in plan.methods
        for trial in plan.trials(method, setting)
    }
    return FixedTrials(list(found.values()))


def _open_study(folder: Path, method: str, search: SearchConfig) -> Any:
    try:
        import optuna  # noqa: PLC0415  (optional)
        from optuna.storages import JournalStorage  # noqa: PLC0415
        from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415
    except ImportError:
        raise VandError(
            "search.sampler=tpe: Optuna is not installed; pip install 'vand-robot[tpe]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    study = optuna.create_study(
        storage=storage, study_name=method, direction="maximize", load_if_exists=True
    )
    study.sampler = optuna.samplers.TPESampler(
        seed=search.seed + len(study.trials), n_startup_trials=min(10, max(search.trials // 3, 1))
    )
    return study


def _suggest(asked: Any, key: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        return asked.suggest_categorical(key, list(values))
    low, high, log = values["low"], values["high"], bool(values.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return asked.suggest_int(key, low, high, log=log)
    return asked.suggest_float(key, float(low), float(high), log=log)


def _some_setting(search: SearchConfig) -> Setting:
    return {
        key: values["low"] if isinstance(values, Mapping) else values[0]
        for key, values in search.space.items()
    }


def _score(result: TrialResult) -> float:
    """Success, and NaN where there is none."""
    return math.nan if result.success is None else result.success
