"""Language models after Noisin's study: text in, perplexity out, with any cell and regularizer."""
