"""Minutes on one core until 80 % success, policies of others and ours, on the same demonstrations.

    python -m tests.peers.minutes WORK bc-rnn=PYTHON [act=PYTHON] [diffusion=PYTHON] [MINUTES ...]

Three tasks, 50 demonstrations each: a chain (stow-cube), a rhythm (wipe), an order with a press
that comes twice (press-abac). robomimic's BC-RNN trains at its own sizes and with its reset every
10 steps; LeRobot's action-chunking transformer (ACT) and diffusion policy, which have no memory, at
smaller sizes. Each trains in its own interpreter, is saved after so many minutes of processor time,
and is evaluated by `evaluate --server`. Ours is trained anew for each number of updates, because
its learning rate ends with them. All see the same observations and are judged on the same held-out
episodes. What was done already in the folder WORK is not done again.
"""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from vand_demos import DemoDataset
from vand_robot.evaluation.results import EvaluationResult

TASKS = ("stow-cube", "wipe", "press-abac")
DEMONSTRATIONS, SESSION = 50, 1
EPISODES = int(os.environ.get("VAND_PEER_EPISODES", "20"))
"""Held-out episodes of each task."""
KEYS = (
    *("base_pose", "base_twist", "joint_pos", "joint_vel", "gripper", "ee_pos", "ee_rot"),
    *("ee_lag", "cube_rot", "cube_rel", "tray_rel", "bin_rel", "board_rel"),
    *("button_a_rel", "button_b_rel", "button_c_rel", "instruction"),
)
MINUTES = (1.0, 2.0, 4.0, 8.0)
UPDATES = (300, 600, 1200, 2400)
RATE = 1e-3
"""Learning rate of BC-RNN: ten times its default, which is made for hours."""
ENOUGH = 0.8
PORT = 18765
HERE = Path(__file__).parent
SAVED = re.compile(r"^saved ([\d.]+) min, (\d+) updates", re.MULTILINE)
"""What the training scripts say of every file."""


@dataclass(frozen=True)
class Peer:
    """A policy of others."""

    name: str
    """In the table."""
    format_name: str
    """Of `demos export`."""
    scripts: str
    """`SCRIPTS_train.py` and `SCRIPTS_serve.py`."""


PEERS = {
    "bc-rnn": Peer("BC-RNN", "robomimic", "robomimic"),
    "act": Peer("ACT", "lerobot", "lerobot"),
    "diffusion": Peer("diffusion", "lerobot", "lerobot"),
}


def main(work: Path, pythons: dict[str, str], minutes: tuple[float, ...] = MINUTES) -> None:
    """Run what is missing, and print a table."""
    work.mkdir(parents=True, exist_ok=True)
    data = work / "three.hdf5"
    if not data.exists():
        for task in TASKS:
            wanted = ["--episodes", DEMONSTRATIONS, "--session", SESSION, "--resume"]
            vand_robot("record", task, *wanted, "--out", data)
        vand_robot("demos", "split", data)
    for kind, python in pythons.items():
        theirs(kind, python, data, work, minutes)
    for updates in UPDATES:
        spent, result = ours(data, work, updates)
        print(line(f"ours, {updates} updates", spent / 60, result), flush=True)
        if rate(result) >= ENOUGH or spent / 60 > max(minutes):
            break


def theirs(kind: str, python: str, data: Path, work: Path, minutes: tuple[float, ...]) -> None:
    """Train a policy of others once, evaluate what was saved, in the order of the minutes."""
    peer, folder = PEERS[kind], work / kind
    exported = work / ("robomimic.hdf5" if peer.format_name == "robomimic" else peer.format_name)
    if not exported.exists():
        vand_robot("demos", "export", data, "--format", peer.format_name, "--out", exported)
    folder.mkdir(exist_ok=True)
    log = folder / "training.txt"
    if not log.exists():
        script = [python, "-W", "ignore", HERE / f"{peer.scripts}_train.py"]
        words = [*data_words(kind, exported, data, folder), *minutes, "--", *KEYS]
        log.write_text(run([*script, *words]))
    mapping = work / "mapping.yaml"
    mapping.write_text(yaml.safe_dump({"observations": {k: [k] for k in KEYS}, "prompt": None}))
    for mark, updates in SAVED.findall(log.read_text()):
        out = folder / f"evaluation-{mark}"
        if not (out / "results.json").exists():
            with served(python, peer, folder / f"policy-{mark}.pth"):
                where = ["--server", f"ws://127.0.0.1:{PORT}", "--references", data]
                evaluate(*where, "--mapping", mapping, "--out", out)
        result = read(out)
        print(line(f"{peer.name}, {updates} updates", float(mark), result), flush=True)
        if rate(result) >= ENOUGH:
            break


def data_words(kind: str, exported: Path, data: Path, folder: Path) -> list[object]:
    """What a training script is told of the data: robomimic's files hold the split themselves."""
    if kind == "bc-rnn":
        return [exported, folder, RATE]
    episodes = folder / "train.json"
    with DemoDataset.open(data) as dataset:
        chosen = [dataset.names.index(name) for name in dataset.split("train")]
    episodes.write_text(json.dumps(sorted(chosen)))
    return [kind, exported, episodes, folder]


@contextmanager
def served(python: str, peer: Peer, policy: Path) -> Iterator[None]:
    """A server of a policy of others."""
    script = HERE / f"{peer.scripts}_serve.py"
    process = subprocess.Popen(
        [python, "-W", "ignore", script, policy, str(PORT)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert any(said == "ready\n" for said in iter(process.stdout.readline, "")), "no server"
        yield
    finally:
        process.terminate()
        process.wait()


def ours(data: Path, work: Path, updates: int) -> tuple[float, EvaluationResult]:
    """Processor time of a whole training [s], start and last validation included; its result."""
    run_, out = work / f"ours-{updates}", work / f"ours-{updates}" / "evaluation"
    spent = work / f"ours-{updates}.seconds"
    if not spent.exists():
        before = processor_s()
        keys = f"policy.observations=[{','.join(KEYS)}]"
        words = [f"data={data}", f"updates={updates}", keys, "rollouts.episodes=1", "batch_size=24"]
        vand_robot("train", "instructed", *words, "--out", run_, "--force")
        spent.write_text(str(processor_s() - before))
    if not (out / "results.json").exists():
        evaluate(run_, "--out", out)
    return float(spent.read_text()), read(out)


def evaluate(*words: object) -> None:
    """Evaluate on the three tasks, in one process."""
    vand_robot(
        "evaluate",
        *words,
        "--tasks",
        ",".join(TASKS),
        "--episodes",
        EPISODES,
        "--jobs",
        1,
        "--force",
    )


def vand_robot(*words: object) -> None:
    """Run a command of ours."""
    run([sys.executable, "-m", "vand_robot", *words])


def run(words: list[object]) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def processor_s() -> float:
    """Processor time of the commands that have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read(out: Path) -> EvaluationResult:
    """The result of an evaluation."""
    return EvaluationResult.read(out / "results.json")


def rate(result: EvaluationResult) -> float:
    """Mean success over the tasks."""
    return sum(task.nominal.success_rate for task in result.tasks.values()) / len(result.tasks)


def line(name: str, minutes: float, result: EvaluationResult) -> str:
    """A row of the table."""
    cells = [f"{task} {found.nominal.success}" for task, found in result.tasks.items()]
    return f"{name:22} {minutes:5.1f} min  {100 * rate(result):3.0f} %  {', '.join(cells)}"


def read_words(words: list[str]) -> tuple[dict[str, str], tuple[float, ...]]:
    """Interpreters by kind, and minutes."""
    pythons = dict(word.split("=", 1) for word in words if "=" in word)
    assert pythons.keys() <= PEERS.keys(), f"one of {', '.join(PEERS)}, got {sorted(pythons)}"
    return pythons, tuple(float(word) for word in words if "=" not in word) or MINUTES


if __name__ == "__main__":
    main(Path(sys.argv[1]), *read_words(sys.argv[2:]))
