"""The commands under `vand-robot experiments`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Force, Json, Overrides, example

Cells = Annotated[
    str | None, typer.Option(help="Cells with commas, or all, each on every signal asked for.")
]
Signals = Annotated[
    str | None, typer.Option(help="Signals with commas, or all, each for every cell.")
]
Methods = Annotated[
    str | None, typer.Option(help="Methods with semicolons; all has the ablation of VAND too.")
]
Seeds = Annotated[str | None, typer.Option(help="Seeds to report, with commas.")]
Jobs = Annotated[int, typer.Option(help="Processes. The numbers are the same whatever it is.")]
Texts = Annotated[Path, typer.Option(help="Folder where fetched texts are kept.")]
OwnRates = Annotated[
    bool, typer.Option("--own-rates", help="Choose a learning rate for each method and cell.")
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Once around, in a minute; the numbers mean nothing.")
]

experiments = typer.Typer(help="Experiments beside the robot's tasks.", no_args_is_help=True)


@experiments.callback()
def group() -> None:
    """Experiments beside the robot's tasks."""


@experiments.command(epilog=example("vand-robot experiments sequences --jobs 2 --out sequences"))
def sequences(
    out: Annotated[Path, typer.Option("--out", help="Folder for results and report.")] = Path(
        "sequences"
    ),
    jobs: Jobs = 1,
    cells: Cells = None,
    signals: Signals = None,
    methods: Methods = None,
    seeds: Seeds = None,
    own_rates: OwnRates = False,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """Compare regularizers on synthetic periodic sequences; the same command again goes on."""
    from vand_robot.experiments.comparison.plan import chosen_plan  # noqa: PLC0415  (torch)
    from vand_robot.experiments.sequences.plan import QUICK, Plan  # noqa: PLC0415
    from vand_robot.experiments.sequences.study import run_study  # noqa: PLC0415

    plan = chosen_plan(
        QUICK if quick else Plan(), cells, signals, methods, seeds, own_rates=own_rates
    )
    with console.progress_bar("trials") as progress:
        results = run_study(out, plan, jobs=jobs, progress=progress)
    _tell(results, out, json=json)


def _tell(results: Mapping[str, Any], out: Path, *, json: bool, nll: bool = False) -> None:
    """Print a comparison and where its report is, or its results as JSON."""
    from vand_robot.experiments.comparison.results import REPORT  # noqa: PLC0415  (torch)

    if json:
        console.print_json(results)
        return
    _print_comparison(results, nll=nll)
    console.out.print(f"report: {out / REPORT}")


def _print_comparison(results: Mapping[str, Any], *, nll: bool) -> None:
    """Print the table of a comparison; with the likelihood of single steps where there is one."""
    scores = {
        "in_tolerance": ">time in tolerance",
        "amplitude_error": ">amplitude error",
        "phase_drift_rad": ">drift [rad]",
        **({"nll": ">one-step NLL"} if nll else {}),
    }
    console.print_table(
        "Interquartile mean over seeds and signals, with 95 % interval",
        ("cell", "signals", "method", *scores.values()),
        [
            [
                *(entry[key] for key in ("cell", "signals", "method")),
                *("{iqm:.2f} ({low:.2f}-{high:.2f})".format(**entry[score]) for score in scores),
            ]
            for entry in results["methods"]
        ],
    )


@experiments.command(epilog=example("vand-robot experiments series --jobs 2 --out series"))
def series(
    out: Annotated[Path, typer.Option("--out", help="Folder for results and report.")] = Path(
        "series"
    ),
    recordings: Annotated[
        Path, typer.Option(help="Folder where fetched recordings are kept.")
    ] = Path("recordings"),
    jobs: Jobs = 1,
    cells: Cells = None,
    signals: Signals = None,
    methods: Methods = None,
    seeds: Seeds = None,
    own_rates: OwnRates = False,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """Compare regularizers on recordings of people and pulses; the same command again goes on."""
    from vand_robot.experiments.comparison.plan import chosen_plan  # noqa: PLC0415  (torch)
    from vand_robot.experiments.series.plan import QUICK, Plan  # noqa: PLC0415
    from vand_robot.experiments.series.study import run_study  # noqa: PLC0415

    plan = chosen_plan(
        QUICK if quick else Plan(), cells, signals, methods, seeds, own_rates=own_rates
    )
    with console.progress_bar("trials") as progress:
        results = run_study(out, plan, recordings, jobs=jobs, progress=progress)
    _tell(results, out, json=json, nll=True)


@experiments.command(
    epilog=example("vand-robot experiments language noisin-small text=austen --out austen")
)
def language(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a ready-made one.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    overrides: Overrides = None,
    texts: Texts = Path("texts"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last finished epoch, exactly.")
    ] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a language model on a text, with any cell and regularizer."""
    from vand_robot.experiments.language.config import load_language_config  # noqa: PLC0415
    from vand_robot.experiments.language.study import run_language  # noqa: PLC0415
    from vand_robot.experiments.language.training import perplexity  # noqa: PLC0415

    def show(epoch: Any) -> None:
        train, valid = perplexity(epoch.train_nll), perplexity(epoch.valid_nll)
        console.err.print(
            f"epoch {epoch.epoch}: perplexity {train:.1f} in training, {valid:.1f} in validation,"
            f" {epoch.seconds:.0f} s"
            + ("" if epoch.explicit is None else f"; noise adds {epoch.explicit:.4f} nats")
        )

    chosen = load_language_config(config, overrides or [])
    results = run_language(chosen, out, cache=texts, resume=resume, force=force, on_epoch=show)
    if json:
        console.print_json(results)
        return
    console.out.print(f"{out}: test perplexity {results['test']['perplexity']:.2f}")


@experiments.command(
    "language-table",
    epilog=example("vand-robot experiments language-table austen-1-hour --jobs 2 --out noisin"),
)
def language_table(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="YAML file, or the name of a ready-made table.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of models and table.")],
    texts: Texts = Path("texts"),
    jobs: Jobs = 1,
    json: Json = False,
) -> None:
    """Train the language models of a table, several seeds each; the same command again goes on."""
    from vand_robot.experiments.language.table_study import TABLE, in_words, run_table  # noqa: PLC0415
    from vand_robot.experiments.language.tables import load_table  # noqa: PLC0415

    chosen = load_table(table)
    with console.progress_bar("epochs") as progress:
        results = run_table(chosen, out, texts=texts, jobs=jobs, progress=progress)
    if json:
        console.print_json(results)
        return
    console.print_table(
        "Perplexity after the last epoch: mean over seeds, with 95 % interval from 3 on",
        ("method", ">n", ">validation", ">best epoch's", ">test"),
        [
            [row["method"], str(row["n"])]
            + [in_words(row[part]) for part in ("valid", "best_valid", "test")]
            for row in results["rows"]
        ],
    )
    console.out.print(f"table: {out / TABLE}")


@experiments.command(
    epilog=example("vand-robot experiments ablation --series series --language ablation")
)
def ablation(
    sequences: Annotated[
        Path | None, typer.Option(help="Folder of `experiments sequences`.")
    ] = None,
    series: Annotated[Path | None, typer.Option(help="Folder of `experiments series`.")] = None,
    language: Annotated[
        Path | None, typer.Option(help="Folder of `experiments language-table ablation`.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="File for the table, Markdown.")] = Path(
        "ablation.md"
    ),
) -> None:
    """Collect VAND's ablation (noise, dropout, both, adapted, fixed) in one table."""
    from vand_robot.experiments.ablation import (  # noqa: PLC0415  (torch)
        ablation_columns,
        ablation_rows,
        write_ablation,
    )

    columns = ablation_columns(sequences, series, language)
    write_ablation(columns, out)
    titles = [f">{column.title}" for column in columns]
    console.print_table(
        "Share of time in tolerance, or perplexity", ("method", *titles), ablation_rows(columns)
    )
    console.out.print(f"table: {out}")
