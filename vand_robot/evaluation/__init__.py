"""Rollouts on held-out seeds, and their scores."""
