"""Experiments on sequences, without a robot."""
