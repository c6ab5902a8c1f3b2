"""Training, evaluation and comparison as runs on disk: a folder in, a folder out."""
