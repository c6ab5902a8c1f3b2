"""`vand-robot evaluate`: parsing and printing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vand_envs.errors import UsageError
from vand_robot.cli import console
from vand_robot.cli.main import INTERRUPTED
from vand_robot.cli.options import Force, Json, names, resuming
from vand_robot.cli.runs.shards import Address, Collect, On, ShardName, Shards, Slurm

if TYPE_CHECKING:
    from vand_robot.evaluation.results import EvaluationResult
    from vand_robot.evaluation.target import EvaluationTarget

Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN|FILE",
        help="Training run, one of its checkpoints, or an exported policy.onnx; with --expert a"
        " data set too. None with --server and --policy.",
    ),
]
Server = Annotated[
    str, typer.Option(metavar="ws://HOST:PORT", help="Evaluate the policy that a server holds.")
]
Factory = Annotated[
    str, typer.Option("--policy", metavar="MODULE:FACTORY", help="Evaluate one of your own.")
]
Mapping = Annotated[
    Path | None, typer.Option(help="How such a policy sees and acts (YAML): envs/BENCHMARK.md.")
]
References = Annotated[
    Path | None, typer.Option(help="Data set or run whose demonstrations judge such a policy.")
]
Env = Annotated[
    str,
    typer.Option(metavar="gymnasium:[MODULE:]ID", help="Evaluate there, not on our own tasks."),
]
EnvArg = Annotated[
    list[str] | None,
    typer.Option(
        "--env-arg",
        metavar="KEY=VALUE",
        help="For the environment; KEY={seed}: the seed of each episode.",
    ),
]
Python = Annotated[
    str, typer.Option(metavar="PATH", help="Interpreter with that environment; default: this one.")
]
Success = Annotated[
    str,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Tells from info whether it succeeded; default: success or is_success in it.",
    ),
]
SuiteName = Annotated[
    str,
    typer.Option(help="nominal; robustness: every perturbation; quick: the same, fewer episodes."),
]
Perturbations = Annotated[
    str, typer.Option(help="In place of the suite's, for example nominal,push.")
]
Tasks = Annotated[str, typer.Option(help="For example wipe,stow-cube. Default: all.")]
OneTask = Annotated[list[str] | None, typer.Option(help="One task; may be repeated, as --tasks.")]
Episodes = Annotated[
    int | None, typer.Option(min=1, help="Held-out episodes of each task and perturbation.")
]
Processes = Annotated[
    int,
    typer.Option(
        "--jobs", min=0, help="Processes; 0: one per processor. The numbers are the same."
    ),
]
Expert = Annotated[
    bool, typer.Option("--expert", help="Let the scripted experts act: what can be reached.")
]
Replays = Annotated[
    int, typer.Option(min=0, help="Pages to write of so many of the worst episodes.")
]
Device = Annotated[str, typer.Option(help="Where the policy acts: auto, cpu, cuda, cuda:N or mps.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder for the results; default RUN/evaluation, of RUN/best RUN/evaluation-best.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an evaluation that was interrupted.")
]


def evaluate_command(
    context: typer.Context,
    source: Source = None,
    suite: SuiteName = "nominal",
    perturbations: Perturbations = "",
    tasks: Tasks = "",
    task: OneTask = None,
    episodes: Episodes = None,
    processes: Processes = 0,
    expert: Expert = False,
    replays: Replays = 0,
    device: Device = "cpu",
    server: Server = "",
    policy: Factory = "",
    mapping: Mapping = None,
    references: References = None,
    env: Env = "",
    env_arg: EnvArg = None,
    python: Python = "",
    success: Success = "",
    place: On = "local",
    address: Address = None,
    slurm: Slurm = None,
    shard: ShardName = "",
    collect: Collect = False,
    out: Out = None,
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Roll a policy out on held-out seeds and write results, figures and a report."""
    places = _places(source, server, policy, expert=expert, device=device, env=env, out=out)
    try:
        result = _run(context.params, places)
    except KeyboardInterrupt:
        console.err.print(_interrupted(places.out, resuming(context)))
        raise SystemExit(INTERRUPTED) from None
    if result is not None:
        _print(result, places.out, as_json=json)


def _run(given: dict[str, Any], places: "_Places") -> "EvaluationResult | None":
    """Do what the options ask for; None where one shard was done.

    Args:
        given: The options, by their names.
        places: Where everything is.
    """

    def chosen(*options: str) -> dict[str, Any]:
        return {name: given[name] for name in options}

    others = chosen("server", "policy", "mapping", "references")
    words = {**chosen("python", "success"), "env_arg": given["env_arg"] or []}
    ours = chosen("suite", "perturbations", "expert", "replays")
    common = chosen("episodes", "processes", "resume", "force")
    tasks = [*names(given["tasks"]), *(given["task"] or [])]
    shards = Shards(**chosen("place", "address", "shard", "collect"), slurm=given["slurm"] or [])
    if shards:
        request = {**others, **ours, **words, "env": given["env"]}
        return _sharded(places, shards, request, tasks, **common)
    if given["env"]:
        return _foreign(places, given["env"], words, tasks, **common)
    return _ours(places, others, ours, tasks, **common)


@dataclass(frozen=True)
class _Places:
    """Where the policy is, where it acts, and where the results go."""

    source: Path | None
    out: Path
    device: str


def _require_one(source: Path | None, server: str, policy: str) -> None:
    given = [word for word in (source, server, policy) if word]
    if len(given) != 1:
        raise UsageError(
            "expected one policy: a run or a policy.onnx, --server ws://HOST:PORT, or"
            f" --policy MODULE:FACTORY; got {', '.join(map(str, given)) or 'none'}"
        )


def _places(
    source: Path | None,
    server: str,
    policy: str,
    *,
    expert: bool,
    device: str,
    env: str,
    out: Path | None,
) -> _Places:
    _require_one(source, server, policy)
    from vand_robot.workflows.evaluate import (  # noqa: PLC0415  (torch takes a second)
        evaluation_folder,
    )

    if out is None and source is None:
        raise UsageError("--out: a folder for the results is needed with --server and --policy")
    if out is None and source is not None:
        out = evaluation_folder(source, expert=expert)
        if env:
            out = out.with_name(f"{out.name}-{env.rpartition(':')[2].replace('/', '-')}")
    return _Places(source, out or Path(), device)


def _target(places: _Places, others: dict[str, Any]) -> "EvaluationTarget | None":
    """What is evaluated, where a run's folder does not say it by itself."""
    from vand_robot.evaluation import doors  # noqa: PLC0415  (torch takes a second)

    if places.source is None:
        return doors.others_target(**others)
    if places.source.suffix == doors.EXPORTED:
        return doors.exported_target(places.source, others["references"])
    return None


def _ours(
    places: _Places,
    others: dict[str, Any],
    ours: dict[str, Any],
    tasks: list[str],
    **options: Any,
) -> "EvaluationResult":
    """Evaluate on our tasks."""
    from vand_robot.workflows.evaluate import run_evaluation  # noqa: PLC0415

    target = None if ours["expert"] else _target(places, others)
    source = places.source or Path()
    ours = {**ours, "perturbations": names(ours["perturbations"])}
    with console.progress_bar("evaluating") as progress:
        return run_evaluation(
            source,
            places.out,
            tasks=tasks,
            device=places.device,
            target=target,
            note=console.err.print,
            progress=progress,
            **ours,
            **options,
        )


def _foreign(
    places: _Places,
    env: str,
    words: dict[str, Any],
    tasks: list[str],
    episodes: int | None,
    **options: Any,
) -> "EvaluationResult":
    """Evaluate in an environment of others."""
    from vand_robot.evaluation.doors import foreign_target  # noqa: PLC0415
    from vand_robot.foreign.evaluation import ForeignTask  # noqa: PLC0415
    from vand_robot.runtime.words import keyword_arguments  # noqa: PLC0415
    from vand_robot.workflows.foreign import run_foreign_evaluation  # noqa: PLC0415

    if places.source is None:
        raise UsageError("--env: a run or a policy.onnx is needed; a server drives its own")
    told = tasks[0] if tasks else ""
    arguments = keyword_arguments("--env-arg", words["env_arg"])
    task = ForeignTask(env, arguments, words["python"], words["success"], told)
    target = foreign_target(places.source, places.device)
    with console.progress_bar("evaluating") as progress:
        return run_foreign_evaluation(
            target,
            task,
            places.out,
            episodes=episodes or 50,
            progress=progress,
            note=console.err.print,
            **options,
        )


def _sharded(
    places: _Places,
    shards: Shards,
    words: dict[str, Any],
    tasks: list[str],
    *,
    episodes: int | None,
    **options: Any,
) -> "EvaluationResult | None":
    """Evaluate in shards, here or on other machines."""
    from vand_robot.runtime.words import keyword_arguments  # noqa: PLC0415
    from vand_robot.workflows.request import EvaluationRequest  # noqa: PLC0415  (torch)

    request = EvaluationRequest(
        source=str(places.source or ""),
        device=places.device,
        episodes=episodes,
        tasks=tuple(tasks),
        perturbations=tuple(names(words.pop("perturbations"))),
        env_args=keyword_arguments("--env-arg", words.pop("env_arg")),
        mapping=str(words.pop("mapping") or ""),
        references=str(words.pop("references") or ""),
        **words,
    )
    return shards.run(request, places.out, **options)


def _print(result: "EvaluationResult", folder: Path, *, as_json: bool) -> None:
    if as_json:
        console.print_json(result.to_json())
        return
    columns, rows = console.results_table(result)
    console.print_table(f"{result.policy.run}: held-out episodes", columns, rows)
    console.out.print(f"report: {folder / 'report.html'}")


def _interrupted(folder: Path, resuming_command: str) -> str:
    """The line after Ctrl-C: how to go on, if there is anything to go on with."""
    from vand_robot.layout import JOBS_FOLDER, RESULTS_FILE  # noqa: PLC0415

    jobs = folder / JOBS_FOLDER
    if jobs.is_dir() and any(jobs.iterdir()):
        return f"interrupted; to go on: {resuming_command}"
    if (folder / RESULTS_FILE).exists():
        return f"interrupted; the evaluation in {folder} is whole"
    return "interrupted before anything was finished; the same command begins anew"
