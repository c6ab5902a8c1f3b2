"""The corpus of damaged inputs, run: `python -m tests.faults`, a table of outcomes by kind.

A bad outcome is a traceback, a process that does not come back, a crash, more than 2 GiB of memory,
an exit code other than 0, 1 and 2, or a failure that is not one line.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.helpers.faults import Answer, answer
from tests.helpers.run_faults import BYTES_LIMIT, SEED, cases, damage, make_sound
from vand_demos.recording import record


def main() -> None:
    """Run the corpus; exit code 1 if there is a bad outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", type=int, default=1, help="take each so many-th input")
    parser.add_argument("--kinds", nargs="*", help="of these kinds only")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--patience", type=float, default=120.0, help="for one answer [s]")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many [s]")
    parser.add_argument("--verbose", action="store_true", help="show every answer")
    options = parser.parse_args()
    chosen = [case for case in cases() if not options.kinds or case[0] in options.kinds]
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "demos.hdf5"
        for task in ("stow-cube", "wipe"):
            record(task, data, episodes=2, session=3, disturbance=None, resume=True)
        sound = make_sound(folder / "sound", data)

        def attempt(case: tuple[str, int]) -> tuple[str, str, str, int] | None:
            if time.monotonic() > end:
                return None
            kind, index = case
            with tempfile.TemporaryDirectory(dir=folder) as inner:
                place = Path(inner) / "input"
                place.mkdir()
                damaged = damage(kind, index, sound, place, options.seed)
                reply = answer(list(damaged.arguments), Path(inner), options.patience)
            fault = fault_of(reply)
            if fault:
                print(f"{kind} {index}: {damaged.what}: {fault}", flush=True)
                print(*reply.err.splitlines()[-12:], sep="\n  ", flush=True)
            elif options.verbose:
                words = reply.err.strip().splitlines()[-1:] or ["taken"]
                print(f"{kind} {index}: {damaged.what}: {words[0][:200]}", flush=True)
            outcome = fault.split(":")[0] or ("taken" if reply.code == 0 else "refused")
            return kind, outcome, damaged.what, reply.memory_bytes

        with ThreadPoolExecutor(options.jobs) as pool:
            done = list(filter(None, pool.map(attempt, chosen[:: options.every])))
    table: dict[str, Counter[str]] = defaultdict(Counter)
    most: Counter[str] = Counter()
    for kind, outcome, _, memory in done:
        table[kind][outcome] += 1
        most[kind] = max(most[kind], memory)
    print("\n".join(_table(table, most)))
    bad = sum(n for row in table.values() for what, n in row.items() if what not in _GOOD)
    print(f"{len(done)} of {len(chosen)} inputs, seed {options.seed}: {bad} bad outcomes")
    sys.exit(bool(bad))


_GOOD = ("taken", "refused")


def fault_of(reply: Answer) -> str:
    """The fault of an answer: a word, and details after a colon; empty for a good one."""
    lines = [line for line in reply.err.splitlines() if line.startswith("error: ")]
    if reply.code is None:
        return "hang"
    if reply.code < 0:
        return f"crash: signal {-reply.code}"
    if "Traceback" in reply.out + reply.err:
        return "traceback"
    if reply.code not in (0, 1, 2):
        return f"exit code: {reply.code}"
    if reply.memory_bytes > BYTES_LIMIT:
        return f"memory: {reply.memory_bytes >> 20} MiB"
    if len(lines) != (reply.code != 0):
        return f"words: {len(lines)} lines"
    return ""


def _table(table: dict[str, Counter[str]], most: Counter[str]) -> Iterator[str]:
    others: Sequence[str] = sorted({what for row in table.values() for what in row} - {*_GOOD})
    columns = (*_GOOD, *others)
    yield "  ".join(f"{name:>12}" for name in ("kind", "inputs", *columns, "most MiB"))
    for kind, row in table.items():
        cells = (kind, row.total(), *(row[what] for what in columns), most[kind] >> 20)
        yield "  ".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    main()
