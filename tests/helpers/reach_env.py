"""A small environment as others write them; the process that plays it needs nothing else."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Reach(gymnasium.Env):
    """A point that is to be moved to the origin; each episode has 5 steps."""

    metadata = {"render_fps": 10}  # noqa: RUF012
    observation_space = spaces.Dict({"point": spaces.Box(-5, 5, (2,), np.float32)})
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, near: float = 0.5, key: str = "success") -> None:
        self.near, self.key = near, key

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self.steps = 0
        return {"point": self.point.copy()}, {}

    def step(self, action):
        self.point = self.point + 0.3 * action
        self.steps += 1
        far = float(np.linalg.norm(self.point))
        info = {self.key: far < self.near, "far": far}
        return {"point": self.point.copy()}, -far, False, self.steps >= 5, info


class OwnSeed(Reach):
    """The same, but where it begins follows from an argument and not from the seed of `reset`."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=int(self.rng.integers(2**31)), options=options)


gymnasium.register("VandTests/Reach-v0", Reach)
gymnasium.register("VandTests/OwnSeed-v0", OwnSeed)


def near_enough(info):
    return info["far"] < 0.5
