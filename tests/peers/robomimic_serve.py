"""Serves a policy of `robomimic_train.py` by openpi's protocol, a memory for each connection.

    python tests/peers/robomimic_serve.py POLICY PORT

The memory is set to zero every 10 steps, as robomimic does in its own rollouts. Prints `ready`.
Runs in robomimic's interpreter, with websockets and msgpack.
"""

import asyncio
import copy
import sys

import msgpack
import numpy as np
import torch
from robomimic.algo import RolloutPolicy
from robomimic_model import make_model
from websockets.asyncio.server import serve


def array(found):
    """An array as openpi's clients write it."""
    if b"__ndarray__" not in found:
        return found
    return np.frombuffer(found[b"data"], np.dtype(found[b"dtype"])).reshape(found[b"shape"])


def plain(value):
    content = {b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__ndarray__": True, **content}


def load(path):
    saved = torch.load(path, weights_only=False)  # written by robomimic_train.py just now
    model, _ = make_model(saved["shapes"], saved["actions"])
    model.deserialize(saved["weights"])
    model.set_eval()
    return model, saved["stats"]


def normal(x, mean, spread):
    return np.float32((x - mean) / spread)


async def main(path, port):
    out, sys.stdout = sys.stdout, sys.stderr  # robomimic prints a lot
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, stats = load(path)

    async def answer(socket):
        own = copy.copy(model)  # the weights are shared, the memory is not
        policy = RolloutPolicy(own)
        policy.start_episode()
        await socket.send(msgpack.packb({}))
        async for message in socket:
            seen = msgpack.unpackb(message, object_hook=array, strict_map_key=False)
            with torch.no_grad():
                action = policy(ob={key: normal(seen[key], *stats[key]) for key in stats})
            await socket.send(msgpack.packb({"actions": np.float32(action)}, default=plain))

    async with serve(answer, "127.0.0.1", port, compression=None):
        print("ready", file=out, flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
