"""An evaluation in shards: each does its part of the jobs, perhaps on another machine.

All shards write into the folder of the evaluation, on a disk that all machines share. A shard keeps
every job that it has finished there (`evaluation.cache`), and says in `shard.json` of which policy,
episodes and software it is. `collect_shards` reads all of it and writes what one process would have
written, bit for bit where the machines are alike: a job's result does not depend on where it ran.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_demos.system.json_record import JsonRecord
from vand_demos.system.machine import differing_facts
from vand_envs.errors import UsageError, VandError
from vand_robot.evaluation.jobs import RolloutJob
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import Processes, Progress, processors, run_cached
from vand_robot.layout import JOBS_FOLDER, EvaluationFolder
from vand_robot.policies.provenance import machine, software
from vand_robot.workflows.request import Evaluation

SHARDS_FOLDER = "shards"
"""Folder in that of the jobs, with a folder for each shard."""
SHARD_FILE = "shard.json"
"""Of what a shard is."""
MAX_SHARDS = 100_000
"""More shards than any evaluation has jobs."""


@dataclass(frozen=True)
class Shard:
    """One of the parts of an evaluation.

    Raises:
        UsageError: At construction: a number out of range.
    """

    number: int
    """Which one, from 1 on."""
    of: int
    """How many there are."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MAX_SHARDS:
            most = min(self.of, MAX_SHARDS)
            raise UsageError(f"--shard: expected 1 to {most} of {most}, got {self}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that a text such as `3/20` names.

        Raises:
            UsageError: It names none.
        """
        number, slash, of = text.partition("/")
        if not slash or not (number.isdecimal() and of.isdecimal()) or len(text) > 20:
            raise UsageError(f"--shard: expected a number and how many, such as 3/20, got {text!r}")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, out: Path) -> Path:
        """Its folder in that of an evaluation."""
        return shards_folder(out) / f"{self.number}-of-{self.of}"

    def part(self, jobs: Sequence[RolloutJob]) -> list[RolloutJob]:
        """Its jobs: every so-many-th, the longest first, so that all shards take equally long."""
        longest_first = sorted(range(len(jobs)), key=lambda i: (-jobs[i].steps, i))
        return [jobs[i] for i in longest_first[self.number - 1 :: self.of]]


def shards_folder(out: Path) -> Path:
    """The folder of the shards' folders."""
    return out / JOBS_FOLDER / SHARDS_FOLDER


@dataclass(frozen=True)
class ShardRecord:
    """Of what a shard is, and where it ran."""

    shard: Shard
    """The shard."""
    facts: Mapping[str, str]
    """Policy, episodes and software, see `shard_facts`: the same for all shards."""
    machine: Mapping[str, str]
    """The machine, see `policies.provenance.machine`."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """The record in a file.

        Raises:
            VandError: It is damaged.
        """
        record = JsonRecord.read(file)
        of = record.integer("of", 1, MAX_SHARDS)
        shard = Shard(record.integer("number", 1, of), of)
        return cls(shard, record.texts("facts"), record.texts("machine"))

    def write(self, file: Path) -> None:
        """Write it.

        Raises:
            VandError: The disk is full or fails.
        """
        values = {**vars(self.shard), "facts": dict(self.facts), "machine": dict(self.machine)}
        write_bytes(file, (json.dumps(values, indent=1) + "\n").encode())


def shard_facts(evaluation: Evaluation, of: int) -> dict[str, str]:
    """All that must be the same for the shards of one evaluation: fact -> value.

    Args:
        evaluation: The evaluation.
        of: Number of shards.
    """
    jobs = evaluation.jobs
    cells = [(job.perturbation.name, job.task) for job in jobs]
    episodes = sum(
        len(job.seeds) for job, cell in zip(jobs, cells, strict=True) if cell == cells[0]
    )
    return {
        "shards": str(of),
        "policy": evaluation.target.digest,
        "perturbations": ", ".join(dict.fromkeys(name for name, _ in cells)),
        "tasks": ", ".join(dict.fromkeys(task for _, task in cells)),
        "episodes": str(episodes),
        "first seed": str(jobs[0].seeds[0]),
        **{name: fact for name, fact in software().items() if name != "commit"},
        "digest of all of it": evaluation.cache(Path()).digest(jobs),
    }


def _machine(evaluation: Evaluation) -> dict[str, str]:
    """What bits depend on here; jobs run with one thread of torch each."""
    return {**machine(), **evaluation.target.facts.machine, "threads": "1"}


def run_shard(
    evaluation: Evaluation,
    out: Path,
    shard: Shard,
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> int:
    """Run the jobs of a shard that are not there yet; a shard that was killed goes on.

    Args:
        evaluation: The evaluation.
        out: Its folder, which all shards share.
        shard: The shard.
        processes: Processes, 0 for one per processor.
        progress: Called with the work done and all of it.

    Returns:
        The number of its jobs; 0 where there are fewer jobs than shards.

    Raises:
        UsageError: There is an evaluation already, or shards of another one.
        VandError: Another process runs the same shard, a file is damaged, or the disk is full;
            finished jobs are safe.
    """
    if processes < 0:
        raise UsageError(f"jobs: expected 0 or more, got {processes}")
    _require_room(out)
    record = ShardRecord(shard, shard_facts(evaluation, shard.of), _machine(evaluation))
    for other in read_records(out):
        _require_same(other, record, out)
    folder = shard.folder(out)
    with disk_errors("write", out):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, Path(f"shard {shard} of {out}")):
        record.write(folder / SHARD_FILE)
        jobs = shard.part(evaluation.jobs)
        executor = Processes(processes or processors())
        run_cached(jobs, evaluation.work, evaluation.cache(out), executor, progress)
    return len(jobs)


def _require_room(out: Path) -> None:
    """Check that shards may write here.

    Raises:
        UsageError: There is a finished evaluation.
    """
    folder = EvaluationFolder(out)
    if folder.results.exists() and not folder.jobs.exists():
        raise UsageError(
            f"{out}: there is an evaluation already; remove it, or give another folder with --out"
        )


def read_records(out: Path) -> list[ShardRecord]:
    """The records of the shards that have begun.

    Raises:
        VandError: One is damaged.
    """
    with disk_errors("read", out):
        files = sorted(shards_folder(out).glob(f"*/{SHARD_FILE}"))
    return [ShardRecord.read(file) for file in files]


def _require_same(found: ShardRecord, expected: ShardRecord, out: Path) -> None:
    """Check that a shard is of this evaluation.

    Raises:
        UsageError: It is not; the line says in what.
    """
    for name in dict.fromkeys((*expected.facts, *found.facts)):
        theirs, ours = (record.facts.get(name, "none") for record in (found, expected))
        if theirs != ours:
            raise UsageError(
                f"{out}: shard {found.shard} there is of another evaluation: {name}: it has"
                f" {theirs:.60}, expected {ours:.60}; give another folder with --out, or remove"
                f" {out / JOBS_FOLDER}"
            )


def collect_shards(
    evaluation: Evaluation, out: Path, note: Callable[[str], object] | None = None
) -> EvaluationResult:
    """Write the results of an evaluation whose shards are all there, and remove the shards.

    Args:
        evaluation: The evaluation, planned as the shards planned it.
        out: Its folder.
        note: Called with a line where the shards ran on machines whose last bits may differ.

    Raises:
        UsageError: There is an evaluation already, no shard at all, or a shard of another one.
        VandError: Shards are missing, the line says which; or a file is damaged.
    """
    _require_room(out)
    records = read_records(out)
    if not records:
        raise UsageError(f"{out}: no shard is there; --shard 1/{len(evaluation.jobs)} begins one")
    of, here = records[0].shard.of, _machine(evaluation)
    expected = ShardRecord(Shard(1, of), shard_facts(evaluation, of), here)
    for record in records:
        _require_same(record, expected, out)
    folder = evaluation.cache(out)
    results = [folder.load(job) for job in evaluation.jobs]
    found = [result for result in results if result is not None]
    if len(found) < len(results):
        raise VandError(_missing(evaluation, out, {record.shard.number for record in records}, of))
    if note is not None:
        _note_machines(records, here, note)
    result = evaluation.write(found, out)
    folder.clear()
    return result


def _missing(evaluation: Evaluation, out: Path, begun: set[int], of: int) -> str:
    """The line that says which shards are missing."""
    folder, jobs = evaluation.cache(out), evaluation.jobs
    missing = {job for job in jobs if folder.load(job) is None}
    open_jobs = {
        number: sum(job in missing for job in Shard(number, of).part(jobs))
        for number in range(1, min(of, len(jobs)) + 1)  # more have nothing to do
    }
    absent = [number for number, count in open_jobs.items() if count and number not in begun]
    halves = [number for number, count in open_jobs.items() if count and number in begun]
    words = [f"{_numbers(absent)} of {of} missing"] if absent else []
    words += [f"{_numbers(halves)} of {of} not finished"] if halves else []
    total = sum(open_jobs.values())
    return (
        f"{out}: {', '.join(words)} ({total} of {len(jobs)} jobs);"
        f" --shard {(absent or halves)[0]}/{of} does one"
    )


def _numbers(numbers: Sequence[int]) -> str:
    """Numbers of shards in words: `shards 1 to 3, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [
        str(run[0]) if len(run) == 1 else f"{run[0]}{' to ' if len(run) > 2 else ', '}{run[-1]}"
        for run in runs
    ]
    return f"shard{'s' if len(numbers) > 1 else ''} {', '.join(parts)}"


def _note_machines(
    records: Sequence[ShardRecord], here: Mapping[str, str], note: Callable[[str], object]
) -> None:
    """Say where shards ran on machines that are not like this one."""
    others = {
        record.shard.number: differing
        for record in records
        if (differing := differing_facts(record.machine, here))
    }
    if others:
        first = next(iter(others.values()))
        note(
            f"note: {_numbers(list(others))} ran on another kind of machine ({'; '.join(first)});"
            " last bits may differ from those of one machine"
        )
