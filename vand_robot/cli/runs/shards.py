"""Options of `vand-robot evaluate` for an evaluation in shards, over several machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vand_envs.errors import UsageError
from vand_robot.cli import console

if TYPE_CHECKING:
    from vand_robot.evaluation.results import EvaluationResult
    from vand_robot.workflows.request import EvaluationRequest

On = Annotated[
    str,
    typer.Option("--on", help="Where it runs: local, ray or slurm, in --jobs shards side by side."),
]
Address = Annotated[
    str | None, typer.Option(help="ray: address of a cluster; default: this machine.")
]
Slurm = Annotated[
    list[str] | None,
    typer.Option("--slurm", metavar="KEY=VALUE", help="Parameter of Slurm; may be repeated."),
]
ShardName = Annotated[
    str,
    typer.Option("--shard", metavar="K/N", help="Do the K-th of N shards, and keep it in --out."),
]
Collect = Annotated[
    bool, typer.Option("--collect", help="Write the results of all that --shard did.")
]


@dataclass(frozen=True)
class Shards:
    """How an evaluation is divided, as it was asked for.

    Raises:
        UsageError: At construction: options that exclude each other.
    """

    place: str
    address: str | None
    slurm: Sequence[str]
    shard: str
    collect: bool

    def __post_init__(self) -> None:
        if self.shard and self.collect:
            raise UsageError("--shard does one shard, --collect reads all: give one of them")
        if (self.shard or self.collect) and (self.place != "local" or self.address or self.slurm):
            raise UsageError("--shard and --collect run here: without --on, --address, --slurm")

    def __bool__(self) -> bool:
        return bool(self.shard or self.collect or self.address or self.slurm) or (
            self.place != "local"
        )

    def run(
        self, request: "EvaluationRequest", out: Path, *, processes: int, resume: bool, force: bool
    ) -> "EvaluationResult | None":
        """Do what is asked for; None where one shard alone was done.

        Raises:
            UsageError: A mistake in what is asked for, or shards of another evaluation.
            VandError: Shards are missing, one fails, or the place cannot be used.
        """
        if self.place != "local" or self.address or self.slurm:
            return self._run_all(request, out, processes, resume=resume, force=force)
        from vand_robot.workflows.shards import (  # noqa: PLC0415  (torch takes a second)
            Shard,
            collect_shards,
            run_shard,
        )

        if force:
            raise UsageError(
                f"--force would remove what other shards did: remove {out} by hand, or give another"
                " folder with --out"
            )
        if self.collect:
            return collect_shards(request.plan(), out, console.err.print)
        shard = Shard.parse(self.shard)
        with console.progress_bar(f"shard {shard}") as progress:
            count = run_shard(request.plan(), out, shard, processes=processes, progress=progress)
        jobs = f"{count} jobs are" if count != 1 else "1 job is"
        console.out.print(f"shard {shard}: its {jobs} done; --collect reads all shards in {out}")
        return None

    def _run_all(
        self, request: "EvaluationRequest", out: Path, shards: int, **options: Any
    ) -> "EvaluationResult":
        from vand_robot.config.loading import merge  # noqa: PLC0415
        from vand_robot.sweeps.evaluation import Place, evaluate_on  # noqa: PLC0415

        place = Place(self.place, shards, self.address, merge({}, self.slurm))
        with console.progress_bar("evaluating") as progress:
            return evaluate_on(
                request, out, place, progress=progress, note=console.err.print, **options
            )
