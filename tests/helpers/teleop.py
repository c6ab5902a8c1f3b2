"""A person at the controls, played by an expert; and what processes of the tests run."""

from vand_demos import Recorder
from vand_demos.experts import make_expert
from vand_demos.teleop import Command, TeleopSession
from vand_envs import TaskBatch

TASK = "stow-cube"
"""An expert does it in some ten seconds."""


def command(label, *events, **changes):
    """The command that has the action (10,) of an expert."""
    x = [float(number) for number in label]
    parts = {"base_twist": x[:3], "ee_linear": x[3:6], "ee_angular": x[6:9], "gripper": x[9]}
    return Command(**{**parts, "events": events, **changes})


FORWARD = command([0.5, 0.1, 0, 0, 0, 0, 0, 0, 0.2, -1])
STILL = command([0, 0, 0, 0, 0, 0, 0, 0, 0, -1])


def start_drive(recorder, seed=0, task=TASK, wanted=2, **options):
    return TeleopSession(
        TaskBatch(task, 1), recorder, device="web", seed=seed, wanted=wanted, **options
    )


def perform(drive, seed):
    """Does the task as the expert would, up to the moment for the verdict."""
    expert = make_expert(drive.batch.task.id, seed, drive.batch.control_dt_s)
    drive.follow(Command(events=("start",)))
    while True:
        view = {key: value[0] for key, value in drive.batch.observe().items()}
        label = expert.act(view)
        if label is None:
            return
        drive.follow(command(label))


def record_sessions(path, noted):
    """Starts over and over a session in which short episodes are saved and now and then undone."""
    number = 0
    while True:
        with Recorder(path, TaskBatch(TASK, 1).env_args, resume=True) as recorder:
            drive = start_drive(recorder, keep_failures=True)
            for _ in range(4):
                drive.follow(Command(events=("start",)))
                for _ in range(5):
                    drive.follow(FORWARD)
                drive.follow(Command(events=("save",)))
                note(noted, f"+{last_uid(recorder)}")
                number += 1
                if number % 3 == 0:
                    uid = last_uid(recorder)
                    note(noted, f"-{uid}")  # from here on it may be gone
                    drive.follow(Command(events=("undo",)))
                    note(noted, f"x{uid}")  # and from here on it must be


def last_uid(recorder):
    part, _ = recorder._saved[-1]
    return part.stem.partition("-")[2]


def note(path, text):
    with path.open("a") as file:
        file.write(text + "\n")
