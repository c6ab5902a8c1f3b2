"""Files, processes and interrupts, used by all."""
