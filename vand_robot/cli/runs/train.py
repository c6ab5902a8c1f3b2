"""`vand-robot train`: parsing and printing."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vand_envs.errors import UsageError
from vand_robot.cli import console
from vand_robot.cli.options import Force, Json, Overrides
from vand_robot.metrics.training_metrics import SCORE, SUCCESS, UPDATE, VALID_NLL
from vand_robot.training.launch import process_index

if TYPE_CHECKING:
    from vand_robot.training.trainer import TrainResult


def train_command(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of one in configs/.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint, exactly.")
    ] = False,
    init: Annotated[
        Path | None, typer.Option("--init", help="Run to begin with the weights of: fine-tuning.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a policy on demonstrations by behavior cloning."""
    if init is not None and resume:
        raise UsageError("--init begins a run and --resume goes on with one: give one of them")
    leads = process_index() == 0
    if leads:
        console.err.print(f"{config}: loading PyTorch and the demonstrations")
    from vand_robot.config.library import find_config  # noqa: PLC0415  (torch takes a second)
    from vand_robot.workflows.train import run_training  # noqa: PLC0415

    result = run_training(
        find_config(config),
        overrides or [],
        out,
        resume=resume,
        force=force,
        init=init,
        console=console.err,
    )
    if not leads:
        return
    if json:
        console.print_json({**vars(result), "out": str(result.out), "best": dict(result.best)})
        return
    for line in _summary(result):
        console.out.print(line)


def _summary(result: "TrainResult") -> Iterator[str]:
    """The run in words: where it is, how good its best checkpoint is, and what to do next."""
    best = result.best
    yield f"{result.out}: {result.updates} updates done, in {result.seconds:.0f} s by this command"
    facts = [f"the best checkpoint is of update {best.get(UPDATE, 0):g}"]
    if VALID_NLL in best:
        facts.append(f"validation loss {best[VALID_NLL]:.3f}")
    yield ", ".join(facts)
    rates = {k.removeprefix(SUCCESS): v for k, v in best.items() if k.startswith(SUCCESS)}
    if rates:
        yield "success in its validation rollouts:"
        width = max(map(len, rates))
        for task, rate in rates.items():
            yield f"  {task:{width}}  {console.percent(rate)}"
    folder = str(result.out)
    if SCORE in best:
        yield f"next: vand-robot evaluate {shlex.quote(folder)}"
    else:
        yield f"its policy, for the environment of its data: vand_robot.load_policy({folder!r})"
