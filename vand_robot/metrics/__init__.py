"""Metrics of behavior, statistics of success rates, and the names of what a training run logs."""
