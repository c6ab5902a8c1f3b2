"""Environments in another process: real ones of Gymnasium, and all that can go wrong."""

import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from vand_envs.errors import UsageError, VandError
from vand_robot.foreign.remote_env import RemoteEnv

MODULE = '''
import sys
import gymnasium
import numpy as np
from gymnasium import spaces

class Chatty(gymnasium.Env):
    """Prints, nests its observation, and breaks on the third step."""
    metadata = {"render_fps": 20}
    action_space = spaces.Box(-2.0, np.array([2.0, 5.0]), (2,), np.float64)
    observation_space = spaces.Dict({
        "hand": spaces.Dict({"pos": spaces.Box(-np.inf, np.inf, (3,))}),
        "rgb": spaces.Box(0, 255, (4, 5, 3), np.uint8),
        "count": spaces.Discrete(9),
    })
    def __init__(self, bias=0.0):
        self.bias = bias
    def _see(self):
        return {"hand": {"pos": np.full(3, self.t + self.bias, np.float32)},
                "rgb": np.full((4, 5, 3), self.t, np.uint8), "count": self.t}
    def reset(self, *, seed=None, options=None):
        print("among the messages")
        self.t = 0
        return self._see(), {"word": "left out", "seed": seed}
    def step(self, action):
        self.t += 1
        if self.t == 3:
            raise RuntimeError("the motor\\nstalled")
        if self.t == 2 and action[0] > 1:
            import os
            print("out of oil", file=sys.stderr, flush=True)
            os._exit(3)
        return self._see(), float(action.sum()), False, self.t == 9, {"success": np.bool_(True)}

gymnasium.register("Chatty-v0", entry_point=Chatty)

def driver(env):
    return lambda seen: np.array([seen["count"], env.unwrapped.bias])
'''


@pytest.fixture
def chatty(tmp_path: Path) -> Path:
    (tmp_path / "chatty.py").write_text(MODULE)
    return tmp_path


def test_an_environment_elsewhere_does_the_same_as_here():
    here = gymnasium.make("Pendulum-v1")
    with RemoteEnv("gymnasium:Pendulum-v1", python=sys.executable) as there:
        assert there.action_space == here.action_space
        assert there.observation_space["observation"] == here.observation_space
        assert there.control_dt_s == here.unwrapped.dt
        assert "gymnasium" in there.versions
        seen, _ = here.reset(seed=4)
        assert np.array_equal(there.reset(seed=4)[0]["observation"], seen)
        for torque in (0.5, -1.0):
            ours = here.step(np.float32([torque]))
            theirs = there.step(np.float32([torque]))
            assert np.array_equal(theirs[0]["observation"], ours[0])
            assert theirs[1:4] == (pytest.approx(ours[1], abs=0), *ours[2:4])


def test_nested_observations_are_flat_and_what_it_prints_is_kept_apart(chatty: Path):
    with RemoteEnv("chatty:Chatty-v0", env_args={"bias": 0.5}, path=[chatty]) as env:
        seen, info = env.reset(seed=7)
        assert {key: value.shape for key, value in seen.items()} == {
            "hand.pos": (3,),
            "rgb": (4, 5, 3),
            "count": (),
        }
        assert seen["rgb"].dtype == np.uint8
        assert seen["hand.pos"].tolist() == [0.5] * 3
        assert info == {"seed": 7}
        assert env.control_dt_s == 1 / 20
        assert env.action_space.high.tolist() == [2.0, 5.0]
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 3.0]))
        assert (reward, terminated, truncated, info) == (4.0, False, False, {"success": True})


def test_a_policy_acts_beside_the_environment(chatty: Path):
    with RemoteEnv(
        "chatty:Chatty-v0", env_args={"bias": 2.5}, policy="chatty:driver", path=[chatty]
    ) as env:
        env.reset(seed=0)
        assert env.act().tolist() == [0.0, 2.5]
        env.step(env.act())
        assert env.act().tolist() == [1.0, 2.5]


def test_what_fails_over_there_is_one_line(chatty: Path):
    with RemoteEnv("chatty:Chatty-v0", path=[chatty]) as env:
        env.reset()
        env.step(np.zeros(2))
        env.step(np.zeros(2))
        with pytest.raises(VandError, match=r"Chatty-v0: RuntimeError: the motor stalled$"):
            env.step(np.zeros(2))
        env.reset()
        env.step(np.zeros(2))
        with pytest.raises(VandError, match=r"its process has gone \(out of oil\)"):
            env.step(np.full(2, 2.0))


def test_mistakes_in_what_is_asked_for(chatty: Path):
    with pytest.raises(VandError, match="NameNotFound: Environment `Nowhere` doesn't exist"):
        RemoteEnv("Nowhere-v0")
    with pytest.raises(VandError, match="No module named 'absent'"):
        RemoteEnv("absent:Chatty-v0")
    with pytest.raises(VandError, match="unexpected keyword argument 'wheels'"):
        RemoteEnv("chatty:Chatty-v0", env_args={"wheels": 3}, path=[chatty])
    with pytest.raises(VandError, match="no attribute 'pilot'"):
        RemoteEnv("chatty:Chatty-v0", policy="chatty:pilot", path=[chatty])
    with pytest.raises(UsageError, match="cannot start /nowhere/python"):
        RemoteEnv("Pendulum-v1", python="/nowhere/python")
    with pytest.raises(UsageError, match="expected gymnasium:"):
        RemoteEnv("http://Pendulum-v1")


def test_one_that_says_nothing_is_given_up(chatty: Path):
    (chatty / "slow.py").write_text(
        "import time\nfrom chatty import *\n"
        "def driver(env):\n    return lambda seen: time.sleep(60)\n"
    )
    with RemoteEnv("chatty:Chatty-v0", policy="slow:driver", path=[chatty], patience_s=0.3) as env:
        env.reset()
        with pytest.raises(VandError, match=r"no answer within 0\.3 s"):
            env.act()


def test_an_interpreter_that_answers_something_else_is_told(tmp_path: Path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho hello, this is no frame at all\n")
    fake.chmod(0o755)
    with pytest.raises(VandError, match="not a message of the worker"):
        RemoteEnv("Pendulum-v1", python=fake)


FALSE = """#!{python}
import json, struct, sys, time
def send(head, body=b""):
    frame = struct.pack(">I", len(head)) + head + struct.pack(">Q", len(body)) + body
    sys.stdout.buffer.write(frame)
    sys.stdout.buffer.flush()
box = {{"kind": "box", "shape": [1], "dtype": "<f4"}}
sound = {{"ok": True, "observation": box, "action": box, "versions": {{}}, "control_dt_s": 0.1}}
{lines}
time.sleep(20)
"""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('send(b"[" * 100_000)', "not a message"),
        ("send(b'{\"a\":' * 50_000)", "not a message"),
        ("send(b'{\"arrays\": [[\"a\", \"<f4\", [1e999]]]}')", "not a message"),
        ("send(b'{\"arrays\": [[\"a\", \"<f4\", [[1]]]]}')", "not a message"),
        ("send(b'{\"arrays\": [[\"a\", {\"x\": 1}, [1]]]}')", "not a message"),
        ("send(b'{\"arrays\": {\"a\": 1}}')", "not a message"),
        ("send(b'{\"arrays\": 3}')", "not a message"),
        ("box |= {'low': [2], 'high': [-2]}; send(json.dumps(sound).encode())", "observation: no"),
        ("box['shape'] = [1] * 70; send(json.dumps(sound).encode())", "observation: no space"),
        ("box['dtype'] = 'f4,'; send(json.dumps(sound).encode())", "dtype: expected a type of num"),
        ("for _ in range(2): send(json.dumps(sound).encode())", "the answer holds no action"),
    ],
)  # fmt: skip
def test_a_worker_that_answers_nonsense_is_one_line_at_once(tmp_path, capfd, lines, message):
    python = tmp_path / "python"
    python.write_text(FALSE.format(python=sys.executable, lines=lines))
    python.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(VandError, match=message) as caught:
        ask(python)
    assert time.monotonic() - began < 15
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def ask(python):
    """One action of the policy beside an environment."""
    with RemoteEnv("X-v0", python=python) as env:
        return env.act()
