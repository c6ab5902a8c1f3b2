"""Robots: those that come with this package, and how others are read, built and checked."""

from vand_envs.robots.built_in import SHIPPED

__all__ = ["SHIPPED"]
