"""Cells beside those of `torch.nn`: linear recurrences, and cells with normalized gates."""
