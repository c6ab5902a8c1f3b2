"""Template of a driver for ROS 2; copy it and fill it in.

UNTRIED: there was no ROS 2 where it was written. Its structure is that of the tested
`tcp_robot.py`; the calls of rclpy are those of its documentation (Humble and later). Try it with
the robot's wheels off the ground, and with `--limit 0.1`.

It takes joint states and sends velocities. Adapt the two topics, and `observe` and `act`, to your
robot: keys and sizes of `observe` must be those that the policy was trained with
(`policy.interface.observations`), and so must the meaning of an action.
"""

import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.driver import STAMP
from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.policy import Observation


class Driver:
    """A robot on ROS 2 that tells its joint states and takes a velocity command.

    Args:
        states: Topic of `sensor_msgs/JointState`.
        commands: Topic of `geometry_msgs/Twist`.
        max_m_per_s: Velocity at an action of 1 [m/s].
        max_rad_per_s: Turn rate at an action of 1 [rad/s].
        timeout_s: How long to wait for the first message [s].
    """

    def __init__(
        self,
        states: str = "/joint_states",
        commands: str = "/cmd_vel",
        max_m_per_s: float = 0.3,
        max_rad_per_s: float = 0.6,
        timeout_s: float = 5.0,
    ) -> None:
        self._topics = states, commands
        self._most = max_m_per_s, max_rad_per_s
        self._timeout_s = timeout_s
        self._latest: dict[str, Any] | None = None
        self._first = threading.Event()
        self._node: Any = None
        self._ros: Any = None

    def connect(self, interface: Interface, instruction: str | None) -> None:  # noqa: ARG002  (a robot that must know its task is told here)
        """See `Driver.connect`.

        Raises:
            PolicyError: ROS 2 is not there, or no joint state comes.
        """
        try:
            import rclpy  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
            from geometry_msgs.msg import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
                Twist,
            )
            from sensor_msgs.msg import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
                JointState,
            )
        except ImportError as error:
            raise PolicyError(f"driver ros2: source your ROS 2 first ({error})") from None
        self._ros, self._twist = rclpy, Twist
        rclpy.init()
        self._node = rclpy.create_node("vand_robot")
        self._node.create_subscription(JointState, self._topics[0], self._take, 1)
        self._commands = self._node.create_publisher(Twist, self._topics[1], 1)
        threading.Thread(target=rclpy.spin, args=(self._node,), daemon=True).start()
        if not self._first.wait(self._timeout_s):
            raise PolicyError(f"no message on {self._topics[0]} within {self._timeout_s:g} s")

    def observe(self) -> Observation | None:
        """See `Driver.observe`."""
        return self._latest

    def act(self, action: NDArray[np.float32]) -> None:
        """See `Driver.act`: the first three numbers are the base's twist."""
        message = self._twist()
        message.linear.x = float(action[0]) * self._most[0]
        message.linear.y = float(action[1]) * self._most[0]
        message.angular.z = float(action[2]) * self._most[1]
        self._commands.publish(message)

    def stop(self) -> None:
        """See `Driver.stop`: an empty twist is rest."""
        if self._node is not None:
            self._commands.publish(self._twist())
            self._node.destroy_node()
            self._ros.shutdown()

    def _take(self, message: Any) -> None:
        self._latest = {
            "joint_pos": np.array(message.position, np.float32),
            "joint_vel": np.array(message.velocity, np.float32),
            STAMP: time.monotonic(),
        }
        self._first.set()
