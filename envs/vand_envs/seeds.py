"""Which episode seeds are for recording, for validation and for tests.

- 0 to 9,999,999: recording. Session S (0 to 999) begins at seed 10,000 S.
- 10,000,000 to 19,999,999: validation, which chooses checkpoints and settings.
- from 20,000,000: evaluation, which nothing may be tuned on.

An episode is a function of its seed: the ranges keep what is learnt from apart from what is judged.
"""

VALIDATION_SEED = 10_000_000
"""First episode seed of validation rollouts, which choose checkpoints and settings."""
TEST_SEED = 20_000_000
"""First episode seed of evaluations, which nothing may be tuned on."""

SEEDS_PER_SESSION = 10_000
"""Session S records the episode seeds S * SEEDS_PER_SESSION, S * SEEDS_PER_SESSION + 1, ..."""

MAX_SESSION = 999
"""The last session whose seeds are below `VALIDATION_SEED`."""

MAX_TRAINING_SEED = 2**62
"""Of networks and their training; torch takes no integers of more than 64 bits."""
