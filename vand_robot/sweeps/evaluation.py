"""One evaluation over machines: its shards run in a back end of sweeps, and are then collected."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vand_demos.system.files import disk_errors, write_bytes
from vand_demos.system.interrupt import EXIT_CODE, Interrupt
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError, VandError
from vand_envs.tasks.registry import PLUGINS_VARIABLE
from vand_robot.config.validation import build, to_dict
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import Progress, processors
from vand_robot.layout import EvaluationFolder, remove_entries
from vand_robot.sweeps.backends import GRACE_S, LOG_FILE, Backend, RunningTrial, open_backend
from vand_robot.workflows.request import Evaluation, EvaluationRequest
from vand_robot.workflows.shards import Shard, collect_shards, run_shard, shards_folder

REQUEST_FILE = "request.json"
"""What a shard shall do, in its folder."""
ENDED_FILE = "ended.json"
"""Written last: why a shard failed, or that it did not."""
RETRIES = 2
"""How often a shard is started again whose process died."""
POLL_S = 0.2
"""How often the shards are looked at [s]."""


@dataclass(frozen=True)
class Place:
    """Where the shards of an evaluation run; the numbers do not depend on it."""

    name: str = "local"
    """local, ray or slurm."""
    shards: int = 0
    """Shards, which run side by side; 0: one per processor of this machine."""
    address: str | None = None
    """Address of a Ray cluster; None: this machine."""
    slurm: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of submitit's executor."""

    def __post_init__(self) -> None:
        far = self.name == "slurm" or self.address is not None
        if self.shards < 0 or (far and not self.shards):
            raise UsageError(
                f"--jobs: expected the number of shards with --on {self.name}, got {self.shards}"
            )
        if self.slurm and self.name != "slurm":
            raise UsageError(f"--slurm is for --on slurm, not for {self.name}")


def evaluate_on(
    request: EvaluationRequest,
    out: Path,
    place: Place,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> EvaluationResult:
    """Evaluate a policy in shards, on this machine, Ray or Slurm.

    Args:
        request: What to evaluate.
        out: Folder for the results, which all machines see under the same path.
        place: Where shards run.
        resume: Go on with an evaluation that was interrupted.
        force: Replace an evaluation that is there.
        progress: Called with the control steps (or episodes) done and all of them.
        note: Called with a line where a shard is started again, or machines differ.

    Returns:
        The result: that of one process, bit for bit where the machines are alike.

    Raises:
        UsageError: A mistake in what is asked for, or an evaluation is there.
        VandError: The back end cannot be used, or a shard fails; finished jobs are safe.
        KeyboardInterrupt: Ctrl-C; finished jobs are safe.
    """
    request = request.absolute()
    evaluation = request.plan()
    count = min(place.shards or processors(), len(evaluation.jobs))
    # before anything is removed or written: it may not be there
    backend = open_backend(
        place.name,
        count,
        address=place.address,
        folder=shards_folder(out),
        slurm=place.slurm,
    )
    with closing(backend):
        EvaluationFolder(out).claim(resume=resume, force=force)
        remove_entries(shards_folder(out), tuple(shards_folder(out).glob("*")))  # jobs stay
        shards = [Shard(number, count) for number in range(1, count + 1)]
        for shard in shards:
            _write_request(request, shard, out)
        with Interrupt() as interrupt:
            _Run(backend, out, note or (lambda _: None)).run(
                shards, lambda: _tell(evaluation, out, progress), interrupt
            )
        interrupt.obey()
    return collect_shards(evaluation, out, note)


def _write_request(request: EvaluationRequest, shard: Shard, out: Path) -> None:
    """Write the folder from which a shard can be run."""
    folder = shard.folder(out)
    with disk_errors("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "request": to_dict(request),
        "shard": str(shard),
        "out": str(out.absolute()),
        "folder": str(Path.cwd()),
        "plugins": os.environ.get(PLUGINS_VARIABLE, ""),
    }
    write_bytes(folder / REQUEST_FILE, (json.dumps(facts, indent=1) + "\n").encode())


def run_requested_shard(folder: Path) -> str:
    """Run the shard that a folder says, or go on where an earlier call stopped.

    Returns:
        Why it failed, in a line; empty where it did not.

    Raises:
        KeyboardInterrupt: Ctrl-C; the next call goes on.
    """
    record = JsonRecord.read(folder / REQUEST_FILE)
    with suppress(OSError):  # where modules and environments of the user's own are found
        os.chdir(record.text("folder"))
    os.environ[PLUGINS_VARIABLE] = record.text("plugins")
    try:
        request = build(EvaluationRequest, record.record("request").values)
        shard = Shard.parse(record.text("shard"))
        run_shard(request.plan(), Path(record.text("out")), shard)
        error = ""
    except VandError as failure:
        if failure.exit_code == EXIT_CODE:
            raise KeyboardInterrupt from failure
        error = " ".join(str(failure).split())
    write_bytes(folder / ENDED_FILE, (json.dumps({"error": error}) + "\n").encode())
    return error


def _tell(evaluation: Evaluation, out: Path, progress: Progress | None) -> None:
    """Say how many steps of all are done."""
    if progress is not None:
        sizes = {job: evaluation.work.size(job) for job in evaluation.jobs}
        folder = evaluation.cache(out)
        progress(sum(n for job, n in sizes.items() if folder.holds(job)), sum(sizes.values()))


class _Run:
    """Shards in a back end; those whose process dies are started again."""

    def __init__(self, backend: Backend, out: Path, note: Callable[[str], object]) -> None:
        self._backend, self._out, self._note = backend, out, note
        self._running: dict[Shard, RunningTrial] = {}
        self._starts: dict[Shard, int] = {}

    def run(self, shards: list[Shard], tell: Callable[[], None], interrupt: Interrupt) -> None:
        """Run all shards, or until Ctrl-C.

        Raises:
            VandError: One fails, or its process dies once too often; the others are stopped.
        """
        try:
            for shard in shards:
                self._start(shard)
            while self._running and not interrupt.requested:
                for shard in [s for s, running in self._running.items() if not running.poll()]:
                    self._end(shard)
                tell()
                time.sleep(POLL_S if self._running else 0)
        finally:
            self._stop()

    def _start(self, shard: Shard) -> None:
        self._starts[shard] = self._starts.get(shard, 0) + 1
        self._running[shard] = self._backend.start(shard.folder(self._out))

    def _end(self, shard: Shard) -> None:
        del self._running[shard]
        file = shard.folder(self._out) / ENDED_FILE
        if file.exists():
            if error := JsonRecord.read(file).text("error"):
                raise VandError(f"shard {shard}: {error}")
        elif self._starts[shard] > RETRIES:
            log = shard.folder(self._out) / LOG_FILE
            raise VandError(f"shard {shard}: its process died {RETRIES + 1} times; see {log}")
        else:
            self._note(f"shard {shard}: its process died; it is started again")
            self._start(shard)

    def _stop(self) -> None:
        for running in self._running.values():
            running.stop()
        deadline = time.monotonic() + GRACE_S
        for running in self._running.values():
            running.wait(deadline)
