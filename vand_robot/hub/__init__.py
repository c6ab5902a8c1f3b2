"""Runs and data sets on the Hugging Face Hub: `push` and `pull`, each with a card."""

from vand_robot.hub.transfer import pull, push

__all__ = ["pull", "push"]
