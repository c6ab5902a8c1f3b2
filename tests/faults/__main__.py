"""The corpus of damaged inputs, run: `python -m tests.faults`, a table of outcomes by kind.

A bad outcome is a traceback, a process that does not come back, a crash, more than 2 GiB of memory,
an exit code other than 0, 1 and 2, or a failure that is not one line.
"""

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.faults.answers import fault_of
from tests.faults.corpus import SEED, cases, damage
from tests.faults.server import PROCESSOR_S, ForkServer
from tests.faults.sound import Sound, make_data, make_sound, sound_commands


@dataclass(frozen=True)
class Outcome:
    """What came of an input."""

    kind: str
    """Its kind."""
    word: str
    """`taken`, `refused`, or a fault."""
    memory_bytes: int
    """Most memory that the command held."""
    processor_s: float
    """Processor time that it took [s]."""


def main() -> None:
    """Run the corpus; exit code 1 if there is a bad outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", type=int, default=1, help="take each so many-th input")
    parser.add_argument("--only", type=int, nargs="*", help="take the inputs of these indices")
    parser.add_argument("--kinds", nargs="*", help="of these kinds only")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--patience", type=float, default=300.0, help="for one answer [s]")
    parser.add_argument("--processor", type=int, default=PROCESSOR_S, help="for one answer [s]")
    parser.add_argument("--verbose", action="store_true", help="show every answer")
    options = parser.parse_args()
    chosen = [
        (kind, index)
        for kind, index in cases()
        if (not options.kinds or kind in options.kinds)
        and (not options.only or index in options.only)
    ][:: options.every]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        sound = make_sound(folder / "sound", make_data(folder / "demos.hdf5"))
        servers: SimpleQueue[ForkServer] = SimpleQueue()
        for i in range(options.jobs):
            warm = sound_commands(sound, folder / f"warm-{i}")
            servers.put(stack.enter_context(ForkServer(warm, options.processor)))

        def attempt(case: tuple[str, int]) -> Outcome:
            server = servers.get()
            try:
                return _attempt(server, case, sound, folder, options)
            finally:
                servers.put(server)

        with ThreadPoolExecutor(options.jobs) as pool:
            done = list(pool.map(attempt, chosen))
    print("\n".join(_table(done)))
    bad = sum(outcome.word not in _GOOD for outcome in done)
    print(f"{len(done)} inputs, seed {options.seed}: {bad} bad outcomes")
    sys.exit(bool(bad))


def _attempt(
    server: ForkServer,
    case: tuple[str, int],
    sound: Sound,
    folder: Path,
    options: argparse.Namespace,
) -> Outcome:
    """Damages an input, and tells what the command answers to it."""
    kind, index = case
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        place = Path(inner) / "input"
        place.mkdir()
        damaged = damage(kind, index, sound, place, options.seed)
        reply = server.answer(damaged.arguments, Path(inner), options.patience)
    fault = fault_of(reply)
    if fault or options.verbose:
        words = fault or (reply.err.strip().splitlines()[-1:] if reply.code else ["taken"])[0]
        print(f"{kind} {index}: {damaged.what}: {reply.processor_s:.2f} s: {words}", flush=True)
    if fault:
        print(*reply.err.splitlines()[-12:], sep="\n  ", flush=True)
    word = fault.split(":")[0] or ("taken" if reply.code == 0 else "refused")
    return Outcome(kind, word, reply.memory_bytes, reply.processor_s)


_GOOD = ("taken", "refused")


def _table(done: Sequence[Outcome]) -> Iterator[str]:
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in done:
        kinds[outcome.kind].append(outcome)
    others = sorted({outcome.word for outcome in done} - {*_GOOD})
    words = (*_GOOD, *others)
    columns = ("kind", "inputs", *words, "most MiB", "most s", "mean s")
    yield "  ".join(f"{name:>12}" for name in columns)
    for kind, row in kinds.items():
        counts = Counter(outcome.word for outcome in row)
        times_s = [outcome.processor_s for outcome in row]
        most = max(outcome.memory_bytes for outcome in row) >> 20
        figures = (f"{max(times_s):.1f}", f"{sum(times_s) / len(times_s):.2f}")
        cells = (kind, len(row), *(counts[word] for word in words), most, *figures)
        yield "  ".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    main()
