"""Settings of the process's memory allocator that make training faster."""

import torch

LARGEST_KEPT = 2**25 - 2**12
"""Size of the block [bytes]: just below glibc's largest threshold, 32 MiB."""


def tune_allocator() -> None:
    """Make glibc keep freed memory for the next pass instead of handing it back to the system.

    The buffers of a pass are tens of megabytes, made and freed at every training step. By default
    glibc returns them and gets them again as untouched pages, whose faults cost up to a fifth of
    the step. It raises its thresholds to the largest block it ever saw freed, up to 32 MiB (see
    mallopt(3), M_MMAP_THRESHOLD): so one such block is made and freed, untouched. Elsewhere this
    does nothing. Call it once before training; it holds for the whole process.
    """
    torch.empty(LARGEST_KEPT, dtype=torch.uint8)
