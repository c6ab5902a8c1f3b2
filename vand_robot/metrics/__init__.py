"""How well behavior is reproduced: pure functions of arrays, one module per kind of task."""
