"""`make test-peers`: what others' own code says of our files, and their worlds of our policies.

Each runs in an environment of its own, under the folder that is named:

    robomimic   its loader and its BC-RNN, for two epochs, on a set that was imported and exported
    metaworld   a policy trained on the committed fixture is evaluated there by `evaluate --env`
    metaworld   the walk of demos/README.md: its scripted expert is recorded by `record --env`, a
                policy is trained and evaluated
"""

import os
import subprocess
import sys
from pathlib import Path

from vand_demos import check_file, export_dataset, import_dataset
from vand_demos.interop import ImportOptions
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation.results import EvaluationResult

FIXTURE = Path(__file__).parents[1] / "fixtures/metaworld_drawer_open.hdf5"
TOLD = "open the drawer"
DRAWER = ["--env", "gymnasium:metaworld:Meta-World/MT1", "--env-arg", "env_name=drawer-open-v3"]
DRAWER += ["--env-arg", "seed={seed}"]
EXPERT = """from metaworld.policies import SawyerDrawerOpenV3Policy


def expert():
    return SawyerDrawerOpenV3Policy().get_action
"""
EPISODES, ENOUGH = 50, 45
DEMONSTRATIONS, UPDATES = 12, 400


def main(venvs: Path, work: Path) -> None:
    """Run everything; raises where something does not hold."""
    data = work / "fixture.hdf5"
    import_dataset(FIXTURE, data, "robomimic", ImportOptions(instruction=TOLD))
    print(robomimic(venvs / "robomimic/bin/python", data, work))
    python = (venvs / "metaworld/bin/python").absolute()
    print(f"metaworld, trained on the fixture: {drawers(python, data, work)}")
    print(
        f"metaworld, trained on what was recorded: {drawers(python, recorded(python, work), work)}"
    )


def vand_robot(work: Path, *words: object) -> None:
    """Run a command of ours in a folder."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / name) for name in ("", "envs", "demos"))
    subprocess.run(
        [sys.executable, "-m", "vand_robot", *map(str, words)],
        cwd=work,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )


def recorded(python: Path, work: Path) -> Path:
    """Meta-World's own expert, recorded from here."""
    (work / "drawer.py").write_text(EXPERT)
    out = work / "drawer.hdf5"
    how = ["--policy", "drawer:expert", "--python", python, "--stop-at-success"]
    how += ["--instruction", TOLD, "--episodes", DEMONSTRATIONS, "--session", 1]
    vand_robot(work, "record", *DRAWER, *how, "--out", out)
    assert check_file(out) == []
    return out


def drawers(python: Path, data: Path, work: Path) -> str:
    """How many drawers a policy opens that was trained on demonstrations, of 50 other starts."""
    run, out = work / f"run-{data.stem}", work / f"metaworld-{data.stem}"
    words = [f"data={data}", f"updates={UPDATES}", "batch_size=12"]
    vand_robot(work, "train", "gru-vand", *words, "--out", run)
    vand_robot(work, "evaluate", run, *DRAWER, "--python", python, "--out", out)
    result = EvaluationResult.read(out / "results.json")
    (task,) = result.tasks.values()
    assert task.nominal.success.episodes == EPISODES
    assert task.nominal.success.successes >= ENOUGH, task.nominal.success
    return f"{task.nominal.success} drawers opened (seeds from {TEST_SEED} on)"


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


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
