"""Updates of robomimic's BC-RNN, as many as each line of standard input asks for.

    python tests/peers/robomimic_updates.py OBSERVATION_SIZE ACTIONS

Answers each line with the processor time that one update took [s]. Runs in its interpreter.
"""

import sys
import time

import torch
from robomimic_model import BATCH, SEQUENCE, make_model


def main(size, actions):
    out, sys.stdout = sys.stdout, sys.stderr  # it prints a lot
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, _ = make_model({"observation": [size]}, actions)
    batch = {
        "obs": {"observation": torch.randn(BATCH, SEQUENCE, size)},
        "actions": torch.rand(BATCH, SEQUENCE, actions) * 2 - 1,
    }
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        count, began = int(line), time.process_time()
        for _ in range(count):
            model.train_on_batch(model.process_batch_for_training(batch), epoch=0, validate=False)
        print((time.process_time() - began) / count, file=out, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
