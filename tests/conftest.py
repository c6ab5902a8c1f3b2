"""What several test modules need: small real recordings, and a run trained on them."""

import os
import signal

import pytest
import torch

from tests.helpers.apart import WarmProcess
from tests.helpers.exports import make_checkpoint
from tests.helpers.jobs import brief
from vand_demos.recording import record
from vand_demos.system import isolation
from vand_robot.cli.main import main
from vand_robot.config.library import find_config
from vand_robot.export.onnx import export_policy
from vand_robot.workflows.train import run_training

torch.set_num_threads(1)  # tests run side by side

# started in the background, a suite and all that it starts would ignore what tests send
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)

TINY = ["updates=4", "batch_size=4", "policy.hidden_size=16", "policy.encoder.sizes=[16]"]
TINY += ["validation_interval=2", "rollouts.interval=0", "rollouts.episodes=2", "threads=1"]


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def warm():
    """What `run_apart` starts is forked from one process that has imported all it needs."""
    process = WarmProcess()
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "fork"):
            patch.setattr(isolation, "subprocess", process.stand_in())
        yield
    process.close()


@pytest.fixture(scope="session")
def demos(tmp_path_factory):
    """Four undisturbed demonstrations of each task in one data set."""
    path = tmp_path_factory.mktemp("demos") / "demos.hdf5"
    for task in ("stow-cube", "wipe"):
        record(task, path, episodes=4, session=3, disturbance=None, resume=True)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory, demos):
    """A policy that was trained for four updates."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    with brief():
        run_training(find_config("quickstart"), [f"data=[{demos}]", *TINY], out)
    return out


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A policy, its checkpoint's folder, and its exported file."""
    folder = tmp_path_factory.mktemp("exported")
    policy = make_checkpoint(folder / "best")
    export_policy(folder / "best", folder / "policy.onnx")
    return policy, folder / "best", folder / "policy.onnx"


@pytest.fixture
def short_episodes():
    """Evaluations that are begun in this process have episodes of three seconds."""
    with brief():
        yield


@pytest.fixture
def command(capsys):
    """Runs the command in this process; gives exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call


@pytest.fixture
def fails(command):
    """Runs the command, which must fail with one line; gives exit code and that line."""

    def call(*arguments):
        code, _, err = command(*arguments)
        lines = [line for line in err.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, err
        assert lines[-1] == errors[0], err
        assert "Traceback" not in err
        return code, errors[0]

    return call
