"""Scenes of one's own: any MJCF file in which a robot of ours is driven, without a task."""

from vand_envs.scenes.reading import read_scene
from vand_envs.scenes.scene import SCENE_RECORD, Scene, SceneOptions

__all__ = ["SCENE_RECORD", "Scene", "SceneOptions", "read_scene"]
