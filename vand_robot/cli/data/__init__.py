"""Commands on data sets: recording, tools, the Hub."""
