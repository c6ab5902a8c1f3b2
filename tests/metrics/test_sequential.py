import numpy as np
import pytest

from vand_robot.metrics.sequential import (
    jerk,
    path_distance,
    stages_in_order,
    success_at_k,
)

NAN = np.nan
TIMES = np.array(
    [
        [1.0, 2.0, 3.0],  # all in order
        [1.0, NAN, 3.0],  # the second is missing, the third out of order
        [2.0, 1.0, 3.0],  # the second too early: it and the third are out of order
        [NAN, NAN, NAN],  # nothing
        [1.0, 1.0, 4.0],  # two at once
    ]
)


def test_only_an_unbroken_beginning_counts_as_in_order():
    assert stages_in_order(TIMES).tolist() == [3, 1, 1, 0, 3]


def test_success_at_k_is_the_share_that_completed_at_least_k():
    assert success_at_k([3, 1, 1, 0, 3], 3).tolist() == [0.8, 0.4, 0.4]


def test_stage_times_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(episodes, stages\), not \(3,\)"):
        stages_in_order([1.0, 2.0, 3.0])


def curve(n, speed=1.0):
    s = np.linspace(0, 1, n) ** speed
    return np.stack([s, np.sin(3 * s), s**2], axis=1)


def plain_warping(x, y):
    """The textbook recursion, cell by cell."""
    gap = np.linalg.norm(x[:, None] - y, axis=-1)
    table = np.full((len(x) + 1, len(y) + 1), np.inf)
    for i in range(len(x)):
        for j in range(len(y)):
            best = min(table[i, j + 1], table[i + 1, j]) + gap[i, j]
            best = min(best, table[i, j] + 2 * gap[i, j])
            table[i + 1, j + 1] = 2 * gap[0, 0] if i == j == 0 else best
    return table[-1, -1] / (len(x) + len(y))


def test_path_distance_equals_the_textbook_recursion_for_any_lengths():
    rng = np.random.default_rng(0)
    for n, m in [(1, 1), (1, 5), (7, 3), (12, 12), (9, 20)]:
        x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
        assert path_distance(x, [y]) == pytest.approx(plain_warping(x, y))


def test_path_distance_is_that_of_the_nearest_demonstration():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(10, 3))
    others = [rng.normal(size=(n, 3)) for n in (4, 17, 10)]
    alone = [path_distance(x, [other]) for other in others]
    assert path_distance(x, others) == pytest.approx(min(alone))
    assert path_distance(x, [*others, x]) == 0


def test_path_distance_ignores_speed_and_measures_offset():
    still = path_distance(curve(100), [curve(160, speed=1.7)])
    assert still < 0.01
    line = np.linspace([0, 0], [1, 0], 50)
    beside = line + np.array([0, 0.1])
    assert path_distance(line, [beside]) == pytest.approx(0.1)


def test_path_distance_refuses_what_is_no_path():
    with pytest.raises(ValueError, match="at least one demonstration"):
        path_distance(curve(5), [])
    with pytest.raises(ValueError, match="shapes"):
        path_distance(curve(5), [curve(5)[:, :2]])


def test_jerk_of_polynomials_is_exact():
    t = np.arange(50) * 0.05
    cubic = np.stack([t**3, 2 * t**3, t**2], axis=1)  # third derivative (6, 12, 0)
    assert jerk(cubic, 0.05) == pytest.approx(np.hypot(6, 12))
    assert jerk(cubic[:, 2:], 0.05) == pytest.approx(0, abs=1e-8)
    assert np.isnan(jerk(cubic[:3], 0.05))
