"""What an update costs beside robomimic's BC-RNN at its own sizes, on one core, in one run.

    OMP_NUM_THREADS=1 python -m tests.peers.updates .venv-peers/robomimic/bin/python [ROUNDS]

Both make a few updates in turn, each in a process of its own, and the figure is the median of the
ratios of neighbors, in processor time: what else the machine does falls on both. An update is the
whole: forward, loss, backward, optimizer; ours clips gradients and averages weights beside, and has
the settings of torch that `train` makes.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from vand_robot.config import validation
from vand_robot.config.schema import TrainConfig
from vand_robot.data.batches import Batch, EpisodeBuffer
from vand_robot.data.loading import TrainingData
from vand_robot.interface import PolicySpec
from vand_robot.layout import RunFolder
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.training.threads import torch_settings
from vand_robot.training.trainer import Trainer

SIZE, ACTIONS = 64, 10
SEQUENCE, BATCH, UNITS, LAYERS, MODES = 10, 100, 400, 2, 5
"""As in `robomimic_model`, which imports what is not here."""
UPDATES, ROUNDS = 4, 8
OURS = {"plain": "none", "VAND": "vand"}


class Theirs:
    """robomimic in its own interpreter."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("robomimic_updates.py")
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(script), str(SIZE), str(ACTIONS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        said = iter(self._process.stdout.readline, "")  # it greets first
        assert any(line == "ready\n" for line in said), "robomimic does not start"

    def update_s(self, count: int) -> float:
        """Processor time of an update [s]."""
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


class Ours:
    """A policy of the same sizes in our trainer."""

    def __init__(self, regularizer: str) -> None:
        shape = {
            "cell": "lstm",
            "hidden_size": UNITS,
            "num_layers": LAYERS,
            "encoder": {"sizes": []},
            "attention_heads": 0,
            "near_field_scales_m": [],
            "head": "gmm",
            "mixture": {"modes": MODES},
            "regularizer": {"name": regularizer},
        }
        config = validation.build(TrainConfig, {"data": ["none"], "policy": shape})
        spec = PolicySpec("none", "ee_twist", ACTIONS, 0.1, ("task",), {"observation": SIZE})
        torch.manual_seed(0)
        observations = torch.randn(SEQUENCE, BATCH, SIZE)
        actions = torch.rand(SEQUENCE, BATCH, ACTIONS) * 2 - 1
        self._batch = Batch(observations, actions, torch.full((BATCH,), SEQUENCE))
        buffer = EpisodeBuffer.of([observations[:, 0].numpy()], [actions[:, 0].numpy()], ["task"])
        self._trainer = Trainer(
            config, TrainingData(spec, buffer, None), RecurrentPolicy(config.policy, spec)
        )

    def update_s(self, count: int) -> float:
        """Processor time of an update [s]."""
        began = time.process_time()
        for _ in range(count):
            self._trainer.step(self._batch, RunFolder(Path()))
        return (time.process_time() - began) / count


def main(python: str, rounds: int = ROUNDS) -> dict[str, float]:
    """Measure, print and return the ratios."""
    with torch_settings(1, torch.device("cpu")):
        return _race(Theirs(python), rounds)


def _race(theirs: Theirs, rounds: int) -> dict[str, float]:
    contenders = {name: Ours(regularizer) for name, regularizer in OURS.items()}
    for warm in (theirs, *contenders.values()):
        warm.update_s(2)
    times: dict[str, list[float]] = {"robomimic": [], **{name: [] for name in contenders}}
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, ours in contenders.items():
            before, own = theirs.update_s(UPDATES), ours.update_s(UPDATES)
            after = theirs.update_s(UPDATES)
            times["robomimic"] += [before, after]
            times[name].append(own)
            ratios[name].append(2 * own / (before + after))
    theirs.close()
    for name, taken in times.items():
        print(f"{name:10} {1e3 * statistics.median(taken):6.1f} ms an update")
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    for name, ratio in medians.items():
        low, *_, high = statistics.quantiles(ratios[name], n=4)
        print(f"{name:10} {ratio:.2f} of robomimic's time (quartiles {low:.2f} to {high:.2f})")
    return medians


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
