"""The place of this process among those that `torchrun` started, without PyTorch."""

import os

LAUNCHED = "TORCHELASTIC_RUN_ID"
"""Environment variable by which `torchrun` is known."""


def process_count() -> int:
    """How many processes train one policy together; 1 where nobody started several."""
    return int(os.environ.get("WORLD_SIZE", "1")) if LAUNCHED in os.environ else 1


def process_index() -> int:
    """Number of this process among them, from 0; the first leads: it validates, writes, speaks."""
    return int(os.environ.get("RANK", "0")) if process_count() > 1 else 0
