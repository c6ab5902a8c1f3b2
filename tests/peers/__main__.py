"""`make test-peers`: what others' own code says of our files, and their worlds of our policies.

Each runs in an environment of its own, under the folder that is named:

    robomimic   its loader and its BC-RNN, for two epochs, on a set that was imported and exported
    metaworld   a policy trained on the committed fixture opens the drawer there
    metaworld   its scripted expert is recorded through `record_env` in the other interpreter
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from vand_demos import check_file, export_dataset, import_dataset, record_env
from vand_demos.interop import ImportOptions
from vand_demos.record_env import EnvOptions
from vand_robot.config.library import find_config
from vand_robot.foreign.remote_env import RemoteEnv
from vand_robot.policies.checkpoint import load_policy
from vand_robot.workflows.train import run_training

FIXTURE = Path(__file__).parents[1] / "fixtures/metaworld_drawer_open.hdf5"
ENV, ARGS = "metaworld:Meta-World/MT1", {"env_name": "drawer-open-v3"}
EPISODES, MOST_STEPS, SEED = 12, 300, 1000
ENOUGH = 10
"""Of the episodes; the trial that this repeats had 12."""


def main(venvs: Path, work: Path) -> None:
    """Run everything; raises where something does not hold."""
    data = work / "drawer.hdf5"
    import_dataset(FIXTURE, data, "robomimic", ImportOptions(instruction="open the drawer"))
    print(robomimic(venvs / "robomimic/bin/python", data, work))
    python = venvs / "metaworld/bin/python"
    run = work / "run"
    run_training(find_config("gru-vand"), [f"data=[{data}]", "updates=400", "batch_size=12"], run)
    opened = metaworld(python, run)
    print(f"metaworld: {opened} of {EPISODES} drawers opened (seed {SEED})")
    assert opened >= ENOUGH, opened
    print(recorded(python, work))


def robomimic(python: Path, data: Path, work: Path) -> str:
    """The last line of robomimic's training."""
    out = work / "robomimic.hdf5"
    export_dataset(data, out, "robomimic")
    script = Path(__file__).with_name("robomimic_bc_rnn.py")
    done = subprocess.run(
        [python, "-W", "ignore", script, out, work / "bc_rnn", "observation"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return f"robomimic: {done.stdout.splitlines()[-1]}"


def metaworld(python: Path, run: Path) -> int:
    """How many drawers the policy of a run opens."""
    policy, opened = load_policy(run), 0
    with RemoteEnv(ENV, env_args={**ARGS, "seed": SEED}, python=python) as env:
        for _ in range(EPISODES):
            (seen, _), state = env.reset(), None
            for _ in range(MOST_STEPS):
                action, state = policy.act({k: np.float32(v) for k, v in seen.items()}, state)
                seen, _, terminated, truncated, info = env.step(action)
                if info["success"] or terminated or truncated:
                    break
            opened += bool(info["success"])
    return opened


def recorded(python: Path, work: Path) -> str:
    """Meta-World's own expert, recorded from here."""
    (work / "drawer.py").write_text(
        "from metaworld.policies import SawyerDrawerOpenV3Policy\n"
        "def expert():\n    return SawyerDrawerOpenV3Policy().get_action\n"
    )
    out = work / "recorded.hdf5"
    args = {**ARGS, "seed": 7}
    with RemoteEnv(ENV, env_args=args, policy="drawer:expert", python=python, path=[work]) as env:
        report = record_env(env, env.act, 3, out, EnvOptions(stop_at_success=True))
    assert check_file(out) == []
    return f"metaworld: {report.recorded} episodes of its expert recorded, {report.steps} steps"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
