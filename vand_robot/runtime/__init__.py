"""Run an exported policy where torch and MuJoCo are not: on a robot's board.

The package needs numpy, ONNX Runtime and the standard library alone; a client of a server, and
drivers, import what they need on first use.

    from vand_robot.runtime import Policy

    policy = Policy.load("policy.onnx")
    policy.reset(instruction="wipe")
    action = policy.act(observation)
"""

from vand_robot.runtime.driver import Driver, make_driver
from vand_robot.runtime.errors import PolicyError, PolicyUsageError
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.limits import Limits
from vand_robot.runtime.loop import LoopReport, run_loop
from vand_robot.runtime.network import Network
from vand_robot.runtime.policy import Actor, Policy
from vand_robot.runtime.recording import Recording
from vand_robot.runtime.remote import RemotePolicy

__all__ = [
    "Actor",
    "Driver",
    "Interface",
    "Limits",
    "LoopReport",
    "Network",
    "Policy",
    "PolicyError",
    "PolicyUsageError",
    "Recording",
    "RemotePolicy",
    "make_driver",
    "run_loop",
]
