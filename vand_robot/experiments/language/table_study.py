"""A table of language models: every method tries its settings, the chosen ones take all seeds.

Each model is a folder of its own and goes on after its last finished epoch. So the same command
again does nothing twice.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar

import numpy as np

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError, VandError
from vand_robot import figures
from vand_robot.evaluation.runner import Processes, Progress, Work, run_cached
from vand_robot.experiments.language.figures import perplexity_curves
from vand_robot.experiments.language.study import (
    CONFIG,
    check_results,
    load_corpus,
    run_language,
)
from vand_robot.experiments.language.study import RESULTS as RUN_RESULTS
from vand_robot.experiments.language.tables import (
    LanguageTrial,
    TableConfig,
    TableMethod,
    trials_of,
)
from vand_robot.experiments.language.training import Epoch, LanguageInterruptedError, perplexity
from vand_robot.metrics.statistics import mean_interval

RESULTS, TRIALS, TABLE, CURVES = "results.json", "trials.csv", "table.md", "perplexity.png"


class LanguageWork(Work[LanguageTrial, dict[str, Any]]):
    """Training of language models.

    Args:
        folder: Folder of their folders.
        texts: Folder where fetched texts are kept.
    """

    to_go_on: ClassVar[str] = "the same command goes on after the last finished epochs"

    def __init__(self, folder: Path, texts: Path) -> None:
        self._folder, self._texts = folder, texts

    def prepare(self) -> Callable[[LanguageTrial, Progress | None], dict[str, Any]]:
        """As `Work.prepare`."""
        return lambda trial, _: self._run(trial)

    def size(self, job: LanguageTrial) -> int:
        """As `Work.size`: its epochs."""
        return job.config.epochs

    def _run(self, trial: LanguageTrial) -> dict[str, Any]:
        out = self._folder / trial.key
        begun = (out / "state" / "state.json").exists()
        if not begun and out.exists():  # stopped before its first epoch was finished
            with disk_errors("remove", out):
                rmtree(out)
        try:
            return run_language(trial.config, out, cache=self._texts, resume=begun)
        except LanguageInterruptedError:
            raise KeyboardInterrupt from None


class LanguageRuns:
    """The models that are trained, by their folders.

    Args:
        folder: Folder of their folders.
        on_done: Called when another one is done.
    """

    def __init__(self, folder: Path, on_done: Callable[["LanguageRuns"], None]) -> None:
        self.done: dict[str, tuple[LanguageTrial, dict[str, Any]]] = {}
        """Key of a trial -> the trial and its results."""
        self._folder, self._on_done = folder, on_done

    def load(self, job: LanguageTrial) -> dict[str, Any] | None:
        """As `Cache.load`."""
        file = self._folder / job.key / RUN_RESULTS
        if job.key not in self.done and file.exists():
            try:
                record = JsonRecord.read(file)
                whole = check_results(record) == job.config.epochs
            except VandError:  # damaged: it is written again, from the last epoch
                return None
            if not whole:
                return None
            self.save(job, dict(record.values))
        return self.done[job.key][1] if job.key in self.done else None

    def save(self, job: LanguageTrial, result: dict[str, Any]) -> None:
        """As `Cache.save`; the model has written its results already."""
        self.done[job.key] = job, result
        self._on_done(self)


def run_table(
    table: TableConfig,
    out: Path,
    *,
    texts: Path,
    jobs: int,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train the models of a table, and write it.

    Args:
        table: Its rows.
        out: Folder for `runs/`, `trials.csv`, `table.md`, `perplexity.png` and `results.json`; what
            is done there is used.
        texts: Folder where fetched texts are kept.
        jobs: Processes side by side, of one thread each.
        progress: Called with epochs done and epochs in all.

    Returns:
        The content of `results.json`.

    Raises:
        UsageError: There are no jobs, or the text is not there.
        VandError: A loss is not finite, the disk is full, or a process died.
        KeyboardInterrupt: After Ctrl-C; finished epochs are safe.
    """
    if jobs < 1:
        raise UsageError(f"--jobs: expected 1 or more, got {jobs}")
    first = trials_of(table, table.methods[0], table.methods[0].settings[0], table.seeds[:1])[0]
    load_corpus(first.config, texts)  # fetched once, before others look for it
    total = _epochs(table)
    folder = out / "runs"
    with disk_errors("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive(out / "writing", out):
        runs = LanguageRuns(folder, lambda some: _write_trials(some, out))
        work, executor = LanguageWork(folder, texts), Processes(jobs)

        def run(trials: Sequence[LanguageTrial]) -> list[dict[str, Any]]:
            before = sum(
                trial.config.epochs for trial, _ in runs.done.values() if trial not in trials
            )
            return run_cached(
                trials, work, runs, executor, lambda done, _: progress(before + done, total)
            )

        run([t for m in table.methods for s in m.settings for t in _searched(table, m, s)])
        chosen = [_chosen(table, method, run) for method in table.methods]
        run([trial for trials in chosen for trial in trials])
        results = _results(chosen, runs)
        _write(results, chosen, runs, table, out)
    return results


def _epochs(table: TableConfig) -> int:
    """Epochs in all."""
    runs = sum(
        len(method.settings) + (len(table.seeds) - 1 if method.compared else 0)
        for method in table.methods
    )
    method = table.methods[0]
    return runs * trials_of(table, method, method.settings[0], table.seeds[:1])[0].config.epochs


def _searched(table: TableConfig, method: TableMethod, setting: str) -> list[LanguageTrial]:
    return trials_of(table, method, setting, table.seeds[:1])


def _chosen(
    table: TableConfig,
    method: TableMethod,
    run: Callable[[Sequence[LanguageTrial]], list[dict[str, Any]]],
) -> list[LanguageTrial]:
    """The trials of the setting that validates best with the first seed; the first of equals."""
    scores = [
        run(_searched(table, method, setting))[0]["valid"]["nll"] for setting in method.settings
    ]
    setting = method.settings[int(np.argmin(scores))]
    return trials_of(table, method, setting, table.seeds if method.compared else table.seeds[:1])


def _results(chosen: Sequence[Sequence[LanguageTrial]], runs: LanguageRuns) -> dict[str, Any]:
    rows = []
    for trials in chosen:
        outcomes = [runs.done[trial.key][1] for trial in trials]
        best = [min(epoch["valid_nll"] for epoch in outcome["epochs"]) for outcome in outcomes]
        rows.append(
            {
                "method": trials[0].method,
                "setting": trials[0].setting,
                "n": len(trials),
                "valid": _spread([outcome["valid"]["perplexity"] for outcome in outcomes]),
                "best_valid": _spread([perplexity(nll) for nll in best]),
                "test": _spread([outcome["test"]["perplexity"] for outcome in outcomes]),
            }
        )
    first = runs.done[chosen[0][0].key][1]
    return {"text": first["text"], "rows": rows, "trials": [_row(*d) for d in _ordered(runs)]}


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean over seeds, and its 95 % interval by Student's t, from three seeds on."""
    low, high = mean_interval(values) or (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def _ordered(runs: LanguageRuns) -> list[tuple[LanguageTrial, dict[str, Any]]]:
    return [runs.done[key] for key in sorted(runs.done)]


def _row(trial: LanguageTrial, outcome: Mapping[str, Any]) -> dict[str, Any]:
    epochs = outcome["epochs"]
    return {
        "method": trial.method,
        "setting": trial.setting,
        "seed": trial.config.seed,
        "epochs": len(epochs),
        "train_perplexity": perplexity(epochs[-1]["train_nll"]),
        "valid_perplexity": outcome["valid"]["perplexity"],
        "best_valid_perplexity": perplexity(min(epoch["valid_nll"] for epoch in epochs)),
        "test_perplexity": outcome["test"]["perplexity"],
        "seconds": sum(epoch["seconds"] for epoch in epochs),
    }


def _write_trials(runs: LanguageRuns, out: Path) -> None:
    """Write what is done so far as a table, one line a model."""
    text = io.StringIO()
    rows = [_row(*done) for done in _ordered(runs)]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(out / TRIALS, text.getvalue().encode())


def _write(
    results: Mapping[str, Any],
    chosen: Sequence[Sequence[LanguageTrial]],
    runs: LanguageRuns,
    table: TableConfig,
    out: Path,
) -> None:
    drawn = {
        trials[0].method: [
            Epoch.from_json(JsonRecord.of(CONFIG, epoch))
            for epoch in runs.done[trials[0].key][1]["epochs"]
        ]
        for trials in chosen
        if trials[0].method in (table.drawn or [method.name for method in table.methods[:6]])
    }
    figures.write_png(perplexity_curves(drawn), out / CURVES)
    write_bytes(out / TABLE, markdown(results).encode())
    write_bytes(out / RESULTS, (json.dumps(results, indent=1) + "\n").encode())


def markdown(results: Mapping[str, Any]) -> str:
    """The table, for a page of text."""
    lines = [
        "| method | setting | n | validation | best epoch's | test |",
        "|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        cells = [in_words(row[part]) for part in ("valid", "best_valid", "test")]
        setting = row["setting"].replace("model.regularizer.", "").replace("|", "/")
        lines.append(" | ".join((f"| {row['method']}", setting, str(row["n"]), *cells)) + " |")
    return "\n".join(lines) + "\n"


def in_words(spread: Mapping[str, float | None]) -> str:
    """A mean with its interval: `71.4 (70.9, 71.9)`."""
    mean = f"{spread['mean']:.1f}"
    if spread["low"] is None:
        return mean
    return f"{mean} ({spread['low']:.1f}, {spread['high']:.1f})"
