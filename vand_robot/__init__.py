"""Small recurrent robot policies: training, evaluation and the `vand-robot` command."""
