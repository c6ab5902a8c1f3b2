"""How well behaviour is reproduced: pure functions of arrays, one module per kind of task."""
