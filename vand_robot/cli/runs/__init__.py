"""Commands on runs: training, evaluation, comparison, replay."""
