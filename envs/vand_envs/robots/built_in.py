"""The robots that are described here, besides the built-in one; their models are in packages."""

from vand_envs.robot import (
    Arm,
    Base,
    Camera,
    EndEffector,
    Gripper,
    Part,
    RobotSpec,
    register_robot,
)

_UR5E = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
_UR5E_JOINTS = tuple(f"ur_{name}_joint" for name in _UR5E)

UR5E = RobotSpec(
    name="ur5e-2f85",
    about="a UR5e with a Robotiq 2F-85 gripper on a planar base with a lift",
    parts=(
        Part("vand_envs:carriage.xml"),
        Part(
            "menagerie:universal_robots_ur5e/ur5e.xml", prefix="ur_", at="mount", quat=(0, 0, 0, 1)
        ),
        Part("menagerie:robotiq_2f85/2f85.xml", prefix="grip_", at="ur_attachment_site"),
    ),
    base=Base(joints=("base_x", "base_y", "base_yaw"), actuators=("base_x", "base_y", "base_yaw")),
    arm=Arm(
        joints=("lift", *_UR5E_JOINTS),
        actuators=("lift", *(f"ur_{name}" for name in _UR5E)),
        home=(0.1827, -0.2508, -1.4846, 1.6519, -1.7381, -1.5708, -0.2508),
        posture_weight=(0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        leash=(0.03, 0.10, 0.10, 0.10, 0.15, 0.15, 0.15),
    ),
    gripper=Gripper(
        kind="tendon",
        actuator="grip_fingers_actuator",
        joint="grip_right_driver_joint",
        joints=tuple(
            f"grip_{side}_{link}_joint"
            for side in ("right", "left")
            for link in ("driver", "coupler", "spring_link", "follower")
        ),
        closed=255.0,
        open=0.0,
        joint_closed=0.8,
        joint_open=0.0,
        width_m=0.085,
    ),
    end_effector=EndEffector(
        site="grip_pinch",
        approach=(0.0, 0.0, 1.0),
        across=(0.0, -1.0, 0.0),
        tip_offset_m=0.0176,
    ),
    cameras=(Camera("wrist", "grip_base", (0.0, -0.07, 0.04), (1, 0, 0, 0, 0.9, -0.4), 80.0),),
    touching=(
        "carriage",
        "ur_forearm_link",
        "ur_wrist_3_link",
        "grip_right_pad",
        "grip_left_pad",
    ),
    gravity_compensation=True,
)
"""A UR5e on our base."""

SHIPPED = (UR5E,)
"""The robots that are described here."""

for _robot in SHIPPED:
    register_robot(_robot)
