"""Which episode seeds are for recording, for validation and for tests."""

VALIDATION_SEED = 10_000_000
"""First episode seed of validation rollouts, which choose checkpoints and settings."""
TEST_SEED = 20_000_000
"""First episode seed of evaluations, which nothing may be tuned on. Recording stays below both."""


SEEDS_PER_SESSION = 10_000
"""A session of seed S records the episode seeds S * this, S * this + 1, ..."""

MAX_SESSION_SEED = 999
"""Episode seeds of larger sessions would meet those reserved for validation and evaluation."""
