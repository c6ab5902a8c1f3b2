"""Other people's environments, in another process: with another interpreter, if need be."""
