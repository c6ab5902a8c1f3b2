"""Mobile manipulation environments on MuJoCo: one workshop, one robot, many instructed tasks.

`import vand_envs` registers the Gymnasium environments and needs neither torch nor h5py.
"""

from vand_envs.rendering import default_gl_backend

default_gl_backend()  # before mujoco is first imported: it reads MUJOCO_GL then

from vand_envs.env import MobileManipulationEnv, MobileManipulationVectorEnv  # noqa: E402
from vand_envs.errors import UsageError, VandError  # noqa: E402
from vand_envs.observation import OBSERVATION_KEYS, ROBOT_KEYS  # noqa: E402
from vand_envs.robot import VANDER, RobotSpec  # noqa: E402
from vand_envs.task_batch import TaskBatch  # noqa: E402
from vand_envs.tasks import Cycle, Stage, Task, get_task, register_task, task_ids  # noqa: E402
from vand_envs.tasks.registry import load_plugins  # noqa: E402
from vand_envs.world import World, make_world  # noqa: E402

__all__ = [
    "OBSERVATION_KEYS",
    "ROBOT_KEYS",
    "VANDER",
    "Cycle",
    "MobileManipulationEnv",
    "MobileManipulationVectorEnv",
    "RobotSpec",
    "Stage",
    "Task",
    "TaskBatch",
    "UsageError",
    "VandError",
    "World",
    "get_task",
    "load_plugins",
    "make_world",
    "register_task",
    "task_ids",
]
