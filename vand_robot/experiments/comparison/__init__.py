"""Methods compared on small trials: what experiments on sequences and on recordings share."""
