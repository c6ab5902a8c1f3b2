"""Serves policies by openpi's protocol, a memory for each connection. Needs websockets and msgpack.

Imported by the interpreters of others.
"""

import asyncio

import msgpack
import numpy as np
import torch
from websockets.asyncio.server import serve


def array(found):
    """An array as openpi's clients write it."""
    if b"__ndarray__" not in found:
        return found
    return np.frombuffer(found[b"data"], np.dtype(found[b"dtype"])).reshape(found[b"shape"])


def plain(value):
    """An array as openpi's clients read it."""
    content = {b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__ndarray__": True, **content}


async def run(port, begin, out):
    """Serve until killed, on loopback; prints `ready` to a file.

    Args:
        port: TCP port.
        begin: Called for each connection; gives a function from an observation (key -> array) to an
            action (A,).
        out: File.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)

    async def answer(socket):
        act = begin()
        await socket.send(msgpack.packb({}))
        async for message in socket:
            seen = msgpack.unpackb(message, object_hook=array, strict_map_key=False)
            with torch.no_grad():
                action = act(seen)
            await socket.send(msgpack.packb({"actions": np.float32(action)}, default=plain))

    async with serve(answer, "127.0.0.1", port, compression=None):
        print("ready", file=out, flush=True)
        await asyncio.get_running_loop().create_future()
