"""Serves a policy of `robomimic_train.py` by openpi's protocol.

    python tests/peers/robomimic_serve.py POLICY PORT

The memory is set to zero every 10 steps, as robomimic does in its own rollouts. Prints `ready`.
Runs in robomimic's interpreter, with websockets and msgpack.
"""

import asyncio
import copy
import sys

import numpy as np
import serving
import torch
from robomimic.algo import RolloutPolicy
from robomimic_model import make_model


def load(path):
    saved = torch.load(path, weights_only=False)  # written by robomimic_train.py just now
    model, _ = make_model(saved["shapes"], saved["actions"])
    model.deserialize(saved["weights"])
    model.set_eval()
    return model, saved["stats"]


def normal(x, mean, spread):
    return np.float32((x - mean) / spread)


def main(path, port):
    out, sys.stdout = sys.stdout, sys.stderr  # robomimic prints a lot
    model, stats = load(path)

    def begin():
        policy = RolloutPolicy(copy.copy(model))  # the weights are shared, the memory is not
        policy.start_episode()
        return lambda seen: policy(ob={key: normal(seen[key], *stats[key]) for key in stats})

    asyncio.run(serving.run(port, begin, out))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
