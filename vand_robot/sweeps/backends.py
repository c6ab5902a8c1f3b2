"""Where the trials of a sweep run: processes of this machine, Ray, Slurm.

A back end starts a trial's folder, and says whether it still runs. What came out is in the folder,
on a disk that all machines share. The shards of an evaluation run in the same way, see `worker`.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vand_demos.system.files import disk_errors
from vand_envs.errors import UsageError, VandError, unknown_name

LOG_FILE = "log.txt"
"""What a trial printed, in its folder."""
GRACE_S = 10.0
"""How long a trial that is asked to stop may take to save [s]."""


class RunningTrial(Protocol):
    """A trial that was started."""

    def poll(self) -> bool:
        """Whether it still runs."""
        ...

    def stop(self) -> None:
        """Ask it to save and stop; it need not be over on return."""
        ...

    def wait(self, deadline: float) -> None:
        """Wait for its end, but no longer than until a time of `time.monotonic`; then kill it."""
        ...


class Backend(Protocol):
    """A place to run trials."""

    slots: int
    """Trials side by side."""

    def start(self, folder: Path) -> RunningTrial:
        """Start the trial of a folder.

        Raises:
            VandError: It cannot be started.
        """
        ...

    def close(self) -> None:
        """Let go of the place."""
        ...


class LocalBackend:
    """Processes of this machine, one for each trial.

    Args:
        slots: Trials side by side.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def start(self, folder: Path) -> "LocalTrial":
        """As `Backend.start`."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with disk_errors("write", folder), (folder / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (our own module)
                [sys.executable, "-m", "vand_robot.sweeps.worker", str(folder)],
                stdin=subprocess.PIPE,  # ends with this process, and the trial with it
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to the sweep alone, which stops its trials
                env=environment,
            )
        return LocalTrial(process)

    def close(self) -> None:
        """As `Backend.close`: nothing is held."""


@dataclass(frozen=True)
class LocalTrial:
    """A process with a trial."""

    process: "subprocess.Popen[bytes]"
    """The process."""

    def poll(self) -> bool:
        """As `RunningTrial.poll`."""
        return self.process.poll() is None

    def stop(self) -> None:
        """As `RunningTrial.stop`."""
        if self.poll():
            self.process.send_signal(signal.SIGINT)

    def wait(self, deadline: float) -> None:
        """As `RunningTrial.wait`."""
        try:
            self.process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class RayBackend:
    """Workers of Ray, on this machine or a cluster with a shared disk.

    Args:
        slots: Trials side by side.
        address: The cluster's, as `ray.init` takes it; None begins Ray on this machine, for this
            process alone, on loopback.

    Raises:
        VandError: Ray is not installed, or cannot be reached.
    """

    def __init__(self, slots: int, address: str | None) -> None:
        self.slots = slots
        try:
            import ray  # noqa: PLC0415  (optional)
        except ImportError:
            raise VandError(
                "--on ray: Ray is not installed; pip install 'vand-robot[ray]'"
            ) from None
        self._ray: Any = ray
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        local = {"num_cpus": slots, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            self._ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "PYTHONPATH": _python_path()}},
                **({} if address else local),
            )
        except Exception as error:  # noqa: BLE001  (of many kinds: connection, version)
            reason = str(error).strip().splitlines()
            raise VandError(
                f"--on ray: {address or 'this machine'} cannot be used:"
                f" {reason[0] if reason else type(error).__name__}"
            ) from None
        self._run = self._ray.remote(num_cpus=1, max_retries=0, max_calls=1)(_run_in_worker)

    def start(self, folder: Path) -> "RayTrial":
        """As `Backend.start`."""
        return RayTrial(self._ray, self._run.remote(str(folder.absolute())))

    def close(self) -> None:
        """As `Backend.close`."""
        self._ray.shutdown()


@dataclass(frozen=True)
class RayTrial:
    """A task of Ray with a trial."""

    ray: Any
    """The module."""
    task: Any
    """The reference of the task."""

    def poll(self) -> bool:
        """As `RunningTrial.poll`."""
        done, _ = self.ray.wait([self.task], timeout=0)
        return not done

    def stop(self) -> None:
        """As `RunningTrial.stop`."""
        self.ray.cancel(self.task)  # raises KeyboardInterrupt in the worker

    def wait(self, deadline: float) -> None:
        """As `RunningTrial.wait`."""
        done, _ = self.ray.wait([self.task], timeout=max(deadline - time.monotonic(), 0.0))
        if not done:
            self.ray.cancel(self.task, force=True)


class SlurmBackend:
    """Jobs of Slurm, by submitit.

    Args:
        slots: Jobs that are waiting or running at once.
        folder: Folder of submitit's files.
        parameters: Parameters of submitit's executor; `cluster` names another of its executors.

    Raises:
        UsageError: A parameter that submitit does not know.
        VandError: submitit is not installed, or there is no Slurm.
    """

    def __init__(self, slots: int, folder: Path, parameters: Mapping[str, Any]) -> None:
        self.slots = slots
        try:
            import submitit  # noqa: PLC0415  (optional)
        except ImportError:
            raise VandError(
                "--on slurm: submitit is not installed; pip install 'vand-robot[slurm]'"
            ) from None
        rest = {name: value for name, value in parameters.items() if name != "cluster"}
        cluster = parameters.get("cluster", "slurm")
        known = ("slurm", "local")
        if cluster not in known:
            raise unknown_name("value of slurm.cluster:", str(cluster), known)
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster)
            self._executor.update_parameters(
                **{"name": "vand-robot", "cpus_per_task": 1, "timeout_min": 24 * 60, **rest}
            )
        except (NameError, TypeError, ValueError) as error:
            raise UsageError(f"slurm: {' '.join(str(error).split())}") from None
        except RuntimeError as error:
            raise VandError(f"--on slurm: {' '.join(str(error).split())}") from None

    def start(self, folder: Path) -> "SlurmTrial":
        """As `Backend.start`."""
        try:
            return SlurmTrial(self._executor.submit(SlurmJob(), str(folder.absolute())))
        except Exception as error:  # noqa: BLE001  (its own kinds, with sbatch's message)
            raise VandError(f"--on slurm: {' '.join(str(error).split())}") from None

    def close(self) -> None:
        """As `Backend.close`: nothing is held."""


class SlurmJob:
    """The function of a Slurm job: a trial, which is queued again where it is preempted."""

    def __call__(self, folder: str) -> None:
        """Run the trial of a folder."""
        _run_in_worker(folder)

    def checkpoint(self, folder: str) -> Any:
        """The job to queue in its place; it goes on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415  (optional)

        return DelayedSubmission(SlurmJob(), folder)


@dataclass(frozen=True)
class SlurmTrial:
    """A Slurm job with a trial."""

    job: Any
    """The job of submitit."""

    def poll(self) -> bool:
        """As `RunningTrial.poll`."""
        return not self.job.done()

    def stop(self) -> None:
        """As `RunningTrial.stop`."""
        self.job.cancel(check=False)

    def wait(self, deadline: float) -> None:
        """As `RunningTrial.wait`: a cancelled job is Slurm's to end."""
        while self.poll() and time.monotonic() < deadline:
            time.sleep(0.1)


def _run_in_worker(folder: str) -> None:
    """Do what a folder says in a worker of a cluster, with one thread, as everywhere."""
    from vand_robot.sweeps.worker import work_in  # noqa: PLC0415  (not before it is there)

    work_in(Path(folder))


def _python_path() -> str:
    """The places that this process imports from, for the workers."""
    return os.pathsep.join(path for path in sys.path if path)


def open_backend(
    name: str, slots: int, *, address: str | None, folder: Path, slurm: Mapping[str, Any]
) -> Backend:
    """The back end of that name.

    Args:
        name: local, ray or slurm.
        slots: Trials side by side.
        address: Address of a Ray cluster; None: this machine.
        folder: Folder of the sweep.
        slurm: Parameters for Slurm.

    Raises:
        UsageError: An unknown name, or an address for another one than ray.
        VandError: It is not installed, or not to be had.
    """
    known = ("local", "ray", "slurm")
    if name not in known:
        raise unknown_name("value of --on:", name, known)
    if address and name != "ray":
        raise UsageError(f"--address is for --on ray, not for {name}")
    if name == "ray":
        return RayBackend(slots, address)
    return SlurmBackend(slots, folder / "slurm", slurm) if name == "slurm" else LocalBackend(slots)
