"""Serves a policy of `lerobot_train.py` by openpi's protocol.

    python tests/peers/lerobot_serve.py POLICY PORT

LeRobot's own `select_action` keeps the rest of a chunk for the next steps. Prints `ready`. Runs in
its interpreter, with websockets and msgpack.
"""

import asyncio
import copy
import sys

import numpy as np
import serving
import torch
from lerobot_model import make_policy


def load(path):
    saved = torch.load(path, weights_only=False)  # written by lerobot_train.py just now
    policy, before, after = make_policy(saved["kind"], saved["sizes"], saved["stats"])
    policy.load_state_dict(saved["weights"])
    policy.eval()
    return policy, before, after, saved["columns"]


def vector(seen, names):
    """Numbers by name, `key.3`, from key -> array."""
    split = (name.rsplit(".", 1) for name in names)
    return np.float32([np.ravel(seen[key])[int(place)] for key, place in split])


def main(path, port):
    out, sys.stdout = sys.stdout, sys.stderr  # it prints a lot
    shared, before, after, columns = load(path)

    def begin():
        policy = copy.copy(shared)  # the weights are shared, what waits to be done is not
        policy.reset()

        def act(seen):
            batch = {f: torch.from_numpy(vector(seen, names)) for f, names in columns.items()}
            return after(policy.select_action(before(batch)))[0].numpy()

        return act

    asyncio.run(serving.run(port, begin, out))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
